"""What a registry says, and what is no answer of one."""

from __future__ import annotations

import json
import ssl
import subprocess
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.stream.formats.avro import AvroReader, UnusableSchema
from penstock.stream.formats.registry import HttpRegistry, Schema
from penstock.stream.formats.schemas import MOST_RETRY_MS, UNKNOWN_S, Schemas
from penstock.stream.formats.unread import RegistryUnavailable, Unreadable
from penstock.stream.process.settings import SettingError, Settings
from tests.schema_registry import ANSWERS, RegistryServer
from tests.stream.formats.paid import Known

TEXT = '{"type": "record", "name": "R", "fields": []}'


def client(server: RegistryServer, **more: str) -> HttpRegistry:
    return HttpRegistry(replace(Settings(schema_registry=server.url), **more))  # type: ignore[arg-type]


def test_a_schema_is_found_by_its_id_with_all_that_it_builds_on_in_order() -> None:
    with RegistryServer() as server:
        server.register("base", "base text", "PROTOBUF")
        server.register(
            "middle", "middle text", "PROTOBUF", [{"name": "base.proto", "subject": "base", "version": 1}]
        )
        number = server.register(
            "top/value", "top text", "PROTOBUF",
            [{"name": "base.proto", "subject": "base", "version": 1},
             {"name": "middle.proto", "subject": "middle", "version": 1}],
        )  # fmt: skip
        found = client(server).schema(number)
    assert found == Schema(
        number, "PROTOBUF", "top text", {"base.proto": "base text", "middle.proto": "middle text"}
    )
    assert found is not None and list(found.referred) == ["base.proto", "middle.proto"]


def test_only_a_registry_that_says_so_knows_no_schema() -> None:
    with RegistryServer() as server:
        assert client(server).schema(9) is None
        for mode in ANSWERS:
            server.mode = mode
            with pytest.raises(RegistryUnavailable):
                client(server).schema(9)
    with pytest.raises(
        RegistryUnavailable, match="does not answer.*start it, or correct PENSTOCK_SCHEMA_REGISTRY_URL"
    ):
        client(server).schema(9)


def test_an_answer_that_makes_no_sense_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with RegistryServer() as server:
        one = client(server)
        for answer in (
            b"{}",
            b'{"schema": 5}',
            b'{"schema": "x", "references": [5]}',
            b'{"schema": "x", "references": 7}',
        ):
            monkeypatch.setattr(server, "answer", lambda *_, said=answer: (200, said))
            with pytest.raises(RegistryUnavailable):
                one.schema(1)


def test_what_a_schema_refers_to_and_is_gone_makes_it_unusable_and_stops_nobody() -> None:
    with RegistryServer() as server:
        field = {"name": "x", "type": "shop.Gone"}
        text = json.dumps({"type": "record", "name": "R", "fields": [field]})
        number = server.register(
            "top", text, references=[{"name": "shop.Gone", "subject": "gone", "version": 1}]
        )
        found = client(server).schema(number)
    assert found == Schema(number, "AVRO", text, {})
    with pytest.raises(UnusableSchema, match=r"shop\.Gone"):
        AvroReader(found.text, found.referred)


def test_a_registered_schema_has_the_id_it_had_before() -> None:
    with RegistryServer() as server:
        one = client(server)
        assert one.register("paid-value", "AVRO", TEXT) == one.register("paid-value", "AVRO", TEXT) == 1


@pytest.mark.parametrize(
    ("header", "more"),
    [
        (f"Basic {b64encode(b'me:hushed').decode()}", {"schema_registry_user": "me", "schema_registry_password": "hushed"}),
        ("Bearer hushed", {"schema_registry_token": "hushed"}),
    ],
)  # fmt: skip
def test_who_asks_shows_a_password_or_a_token_and_no_message_does(header: str, more: dict[str, str]) -> None:
    with RegistryServer(authorization=header) as server:
        server.register("paid-value", TEXT)
        assert client(server, **more).schema(1) is not None
        wrong = {name: value.replace("hushed", "hidden") for name, value in more.items()}
        with pytest.raises(RegistryUnavailable, match="answers 401") as refused:
            client(server, **wrong).schema(1)
        assert "hidden" not in str(refused.value)
    settings = Settings(**more)
    assert "hushed" not in repr(settings)


def test_a_token_that_no_header_may_hold_is_refused_and_not_repeated() -> None:
    with RegistryServer(authorization="Bearer hushed") as server:
        server.register("paid-value", TEXT)
        assert client(server, schema_registry_token="hushed\n").schema(1) is not None
        with pytest.raises(SettingError, match="PENSTOCK_SCHEMA_REGISTRY_TOKEN") as refused:
            client(server, schema_registry_token="hushed\nX-More: 1")
        assert "hushed" not in str(refused.value)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingError, match="holds a password") as refused:
        HttpRegistry(Settings(schema_registry="http://me:hushed@127.0.0.1:8081"))
    assert "hushed" not in str(refused.value)
    for wrong in ("127.0.0.1:8081", "ftp://x", ""):
        with pytest.raises(SettingError, match="PENSTOCK_SCHEMA_REGISTRY_URL"):
            HttpRegistry(Settings(schema_registry=wrong))


def test_tls_is_spoken_with_the_authority_that_is_named(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    line = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(
        [*line, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with RegistryServer(tls=context) as server:
        server.register("paid-value", TEXT)
        assert client(server, schema_registry_ca=str(cert)).schema(1) is not None
        with pytest.raises(RegistryUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            client(server).schema(1)
    with pytest.raises(SettingError, match="PENSTOCK_SCHEMA_REGISTRY_CA"):
        client(server, schema_registry_ca=str(tmp_path / "none.pem"))


def test_another_address_of_the_registry_is_asked_where_one_does_not_answer() -> None:
    with RegistryServer() as gone:
        pass
    with RegistryServer() as server:
        server.register("paid-value", TEXT)
        both = HttpRegistry(Settings(schema_registry=f"{gone.url}, {server.url}/"))
        assert both.schema(1) is not None


def test_an_unknown_id_is_asked_for_again_after_a_while_and_a_known_one_never() -> None:
    now = [100.0]
    known = Known()
    schemas = Schemas(known, lambda: now[0])
    schemas.learn([1, 99])
    schemas.learn([1, 99])
    with pytest.raises(Unreadable, match="knows no schema 99"):
        schemas.of(99)
    known.schemas[99] = Schema(99, "AVRO", TEXT, {})
    now[0] += UNKNOWN_S
    schemas.learn([1, 99])
    assert schemas.of(99).number == 99 and known.asked == [1, 99, 99]


def test_a_registry_that_is_away_is_asked_ever_more_rarely_and_waited_for_until_it_answers() -> None:
    known = Known()
    schemas = Schemas(known, lambda: 0.0)
    waits = []
    known.away = RegistryUnavailable("away")
    for _ in range(12):
        with pytest.raises(RegistryUnavailable) as away:
            schemas.learn([1])
        waits.append(away.value.retry_ms)
        assert schemas.waiting
    assert waits[:4] == [500, 1_000, 2_000, 4_000] and waits[-1] == MOST_RETRY_MS
    known.away = None
    schemas.learn([1])
    assert not schemas.waiting


def test_a_batch_with_many_new_ids_lets_the_loop_turn_and_goes_on_later() -> None:
    now = [0.0]

    class Slow(Known):
        def schema(self, number: int) -> Schema | None:
            now[0] += 1.0
            return super().schema(number)

    known = Slow()
    schemas = Schemas(known, lambda: now[0])
    rounds = 0
    while rounds < 20:
        rounds += 1
        try:
            schemas.learn(range(1_000, 1_030))
            break
        except RegistryUnavailable as slow:
            assert slow.retry_ms == 0
    assert rounds == 3 and sorted(known.asked) == list(range(1_000, 1_030))


def test_a_batch_of_ids_that_a_slow_registry_does_not_know_comes_to_an_end() -> None:
    now = [1_000.0]

    class Slow(Known):
        def schema(self, number: int) -> Schema | None:
            now[0] += 2.0
            return super().schema(number)

    known = Slow()
    schemas = Schemas(known, lambda: now[0])
    schemas.learn([7_000])
    for _ in range(100):
        try:
            schemas.learn(range(1_000, 1_100))
            break
        except RegistryUnavailable:
            continue
    assert known.asked == [7_000, *range(1_000, 1_100)]
    now[0] += UNKNOWN_S
    schemas.learn([1_000])
    assert known.asked[-1] == 1_000 and len(known.asked) == 102
