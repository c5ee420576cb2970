"""A client of a schema registry that speaks Confluent's API (Confluent's own, Karapace, Apicurio's `/apis/ccompat/v7`).

Laws of this file:
- What a registry says of an id is a schema, or that there is none (404 with its code 40403). Whatever else happens is
  `RegistryUnavailable`: a wrong address, a refused password or a proxy's page makes nobody's record a dead letter.
- Every question ends: within `TIMEOUT_S` for each address, and with at most `MOST_BYTES` read.
- Redirects are not followed and no proxy is used, so that a password goes to nobody else. No message names a secret.
"""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from penstock.stream.formats.unread import RegistryUnavailable
from penstock.stream.process.settings import SettingError, Settings

TIMEOUT_S = 5.0
MOST_BYTES = 16_000_000
MOST_REFERENCES = 200
NO_SUCH_SCHEMA = (40403,)
GONE = (40401, 40402)  # a subject, or a version of it
URL = "PENSTOCK_SCHEMA_REGISTRY_URL"
_HEADERS = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
_REFUSED = (401, 403)


class Schema(NamedTuple):
    """A schema as the registry has it. `kind` is AVRO, PROTOBUF or JSON; `referred` has what it builds on, in that order."""

    number: int
    kind: str
    text: str
    referred: Mapping[str, str]


class Registry(Protocol):
    """Who knows schemas."""

    def schema(self, number: int) -> Schema | None:
        """The schema with this id, None if there is none. Raises `RegistryUnavailable`."""

    def register(self, subject: str, kind: str, text: str) -> int:
        """The id of a schema under a subject, as which it is registered if it is new. Raises `RegistryUnavailable`."""


class HttpRegistry:
    """The registry at one of several addresses of it, each asked in turn where one does not answer."""

    def __init__(self, settings: Settings) -> None:
        self.urls = [one.strip().rstrip("/") for one in settings.schema_registry.split(",") if one.strip()]
        for url in self.urls:
            try:
                parts = urlsplit(url)
                parts.port  # noqa: B018 - raises for one that is no number
            except ValueError as error:
                raise SettingError(
                    f"{URL} holds what is no address such as http://127.0.0.1:8081: {error}"
                ) from None
            if parts.scheme not in ("http", "https") or not parts.hostname:
                given = "" if "@" in url else f"={url!r}"
                raise SettingError(f"{URL}{given} is no address such as http://127.0.0.1:8081")
        if not self.urls:
            raise SettingError(
                f"{URL} is not set, and a topic of this pipeline names its schemas by id: give the address of the schema registry"
            )
        self.headers = {**_HEADERS, **_authorization(settings)}
        self.tls = _tls(settings) if any(url.startswith("https") for url in self.urls) else None

    def schema(self, number: int) -> Schema | None:
        """The schema with this id, None if there is none."""
        said = self._ask("GET", f"/schemas/ids/{number}", none=NO_SUCH_SCHEMA)
        if said is None:
            return None
        referred: dict[str, str] = {}
        try:
            self._follow(said, referred, set())
            return Schema(number, str(said.get("schemaType") or "AVRO"), _text(said), referred)
        except (KeyError, TypeError, ValueError, RecursionError, AttributeError) as error:
            raise RegistryUnavailable(
                f"the schema registry says of schema {number} what is none ({type(error).__name__}: {error}): is {URL} right?"
            ) from None

    def _follow(self, said: Mapping[str, Any], found: dict[str, str], seen: set[tuple[Any, ...]]) -> None:
        """What a schema refers to, and what that refers to before it. What is gone is left out, so that it cannot be read."""
        for one in said.get("references") or ():
            subject, version, name = str(one["subject"]), int(one["version"]), str(one["name"])
            if (subject, version, name) in seen:
                continue
            seen.add((subject, version, name))
            if len(seen) > MOST_REFERENCES:
                raise RegistryUnavailable(f"a schema refers to more than {MOST_REFERENCES} others")
            path = f"/subjects/{quote(subject, safe='')}/versions/{version}?deleted=true"
            inner = self._ask("GET", path, none=GONE)
            if inner is not None:
                self._follow(inner, found, seen)
                found.setdefault(name, _text(inner))

    def register(self, subject: str, kind: str, text: str) -> int:
        """The id of a schema under a subject."""
        body = {"schema": text} | ({} if kind == "AVRO" else {"schemaType": kind})
        said = self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", body)
        assert said is not None
        return int(said["id"])

    def _ask(self, verb: str, path: str, body: Any = None, none: Sequence[int] = ()) -> dict[str, Any] | None:
        """The answer to one question; None where it is a 404 with one of the codes `none`."""
        failure: RegistryUnavailable | None = None
        for url in list(self.urls):
            try:
                status, said = self._exchange(url, verb, path, body)
                if status == 404 and said.get("error_code") in none:
                    return None
                if status == 200:
                    return said
                failure = RegistryUnavailable(_refusal(url, verb, path, status, said))
            except (OSError, http.client.HTTPException, ValueError) as error:
                failure = RegistryUnavailable(
                    f"the schema registry at {url} does not answer ({type(error).__name__}: {error}): start it, or correct {URL}"
                )
            self.urls = [*self.urls[1:], self.urls[0]]  # the next question goes to the next address first
        assert failure is not None
        raise failure

    def _exchange(self, url: str, verb: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(url)
        host = parts.hostname or ""
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=self.tls)
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
        try:
            sent = None if body is None else json.dumps(body).encode()
            more = {} if sent is None else {"Content-Type": "application/vnd.schemaregistry.v1+json"}
            connection.request(verb, parts.path + path, sent, {**self.headers, **more})
            answer = connection.getresponse()
            data = answer.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise ValueError(f"an answer of more than {MOST_BYTES:,} bytes")
            found: Any = None
            with suppress(ValueError, RecursionError):
                found = json.loads(data)
            if answer.status == 200 and not isinstance(found, dict):
                raise ValueError("its answer is no JSON object")
            return answer.status, found if isinstance(found, dict) else {}
        finally:
            connection.close()


def _text(said: Mapping[str, Any]) -> str:
    text = said.get("schema")
    if not isinstance(text, str):
        raise RegistryUnavailable(f"the schema registry's answer has no schema: is {URL} its address?")
    return text


def _refusal(url: str, verb: str, path: str, status: int, said: Mapping[str, Any]) -> str:
    what = f"the schema registry at {url} answers {status} to {verb} {path}"
    told = str(said.get("message", ""))[:200]
    if status in _REFUSED:
        return f"{what}: it wants another PENSTOCK_SCHEMA_REGISTRY_USER and _PASSWORD, or _TOKEN, or gives this one no right"
    return f"{what} ({told or 'and no reason that a registry gives'}): is {URL} its address, and does it run well?"


def _authorization(settings: Settings) -> dict[str, str]:
    """The header that shows who asks. What no header may hold is refused here: the client would repeat it in its error."""
    token = settings.schema_registry_token.strip()
    pair = f"{settings.schema_registry_user}:{settings.schema_registry_password.rstrip()}"
    if token and not (token.isascii() and token.isprintable()):
        raise SettingError(
            "PENSTOCK_SCHEMA_REGISTRY_TOKEN holds signs that no header may hold, such as the end of a line"
        )
    if token:
        return {"Authorization": f"Bearer {token}"}
    if settings.schema_registry_user:
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    return {}


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.schema_registry_ca or None)
        if settings.schema_registry_cert:
            context.load_cert_chain(settings.schema_registry_cert, settings.schema_registry_key or None)
    except OSError as error:
        raise SettingError(
            f"PENSTOCK_SCHEMA_REGISTRY_CA, _CERT and _KEY must be PEM files that can be read: {error}"
        ) from None
    return context
