"""Addresses, sizes and secrets, read once from the environment. Everything about the problem itself is in the definition file.

Laws of this file:
- `Settings.from_env` is the only reader of settings; the rest of the code is given a `Settings`. (Two things are no settings of a
  run: `PENSTOCK_ENGINE`, which is asked where the engine is chosen, and the addresses that a local stack is found by.)
- A wrong value stops the start with one line that names the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

_OWN = frozenset(
    (
        "acks", "request.required.acks", "enable.idempotence", "partitioner", "transactional.id", "isolation.level",
        "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "enable.partition.eof",
        "group.id", "group.instance.id", "partition.assignment.strategy",
    )
)  # fmt: skip
"""Settings of librdkafka that nobody else may choose."""
_ADDRESSES = (
    (
        "PENSTOCK_MODELS",
        "give it as fsspec reads it, such as in AWS_SECRET_ACCESS_KEY or FSSPEC_FTP_PASSWORD",
    ),
    ("PENSTOCK_MLFLOW", "give it in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    (
        "PENSTOCK_SCHEMA_REGISTRY_URL",
        "give it in PENSTOCK_SCHEMA_REGISTRY_USER and PENSTOCK_SCHEMA_REGISTRY_PASSWORD",
    ),
)
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,100}\Z")


class SettingError(ValueError):
    """A setting that cannot be used; the message names the environment variable."""


@dataclass(frozen=True)
class Settings:
    """Where Kafka and Redis are and how to reach them.

    `kafka` holds client settings in librdkafka's names (`security.protocol`, `sasl.mechanism`, …): every environment variable
    `PENSTOCK_KAFKA_SASL_MECHANISM` becomes `sasl.mechanism`. `prefix` stands before the name of everything this deployment owns:
    topics, groups, members, clients, keys in Redis, folders of versions.
    `models` is a folder or fsspec URL where model versions are kept beside Redis. `secret` signs them; what one of
    `former_secrets` signed is still read. Who asks the serve role needs one of `serve_tokens`, if there are any; with
    `serve_cert` and `serve_key` (PEM files) it speaks TLS, and with `access_log` above 0 its log has every request. The console
    speaks TLS with `console_cert` and `console_key`. It answers to the host names `console_hosts` beside local ones; people log
    in by the password file `console_users`, or by what a proxy at one of `console_proxies` says in two headers, and
    `console_groups` gives its groups roles. `console_anonymous` is yes, no, or empty (`roles.console_people`). `mlflow` is the
    tracking URI of an MLflow server that shows versions, too. `featurize_skew_s` is how many seconds of event time a featurize
    worker may be ahead of the slowest of several while they catch up (None: a tenth of the label's `wait`; 0: any).
    `schema_registry` is the address of the registry that topics in Avro, Protobuf and JSON Schema name their schemas in (several
    of one registry, separated by commas), asked with a user and password, or a token, and over TLS with these PEM files.
    """

    bootstrap: str = "127.0.0.1:9092"
    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    prefix: str = ""
    models: str = ""
    secret: str = field(default="", repr=False)
    former_secrets: tuple[str, ...] = field(default=(), repr=False)
    mlflow: str = ""
    slot: str = "0"
    featurize_skew_s: float | None = None
    host: str = "127.0.0.1"
    port: int = 0
    connect_timeout_s: float = 10.0
    serve_tokens: tuple[str, ...] = field(default=(), repr=False)
    serve_cert: str = ""
    serve_key: str = ""
    access_log: int = 0
    console_hosts: tuple[str, ...] = ()
    console_users: str = ""
    console_anonymous: str = ""
    console_proxies: tuple[str, ...] = ()
    console_user_header: str = "X-Forwarded-User"
    console_groups_header: str = "X-Forwarded-Groups"
    console_groups: tuple[str, ...] = ()
    console_cert: str = ""
    console_key: str = ""
    schema_registry: str = ""
    schema_registry_user: str = ""
    schema_registry_password: str = field(default="", repr=False)
    schema_registry_token: str = field(default="", repr=False)
    schema_registry_ca: str = ""
    schema_registry_cert: str = ""
    schema_registry_key: str = ""
    kafka: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not _PREFIX.match(self.prefix):
            raise SettingError(
                f"PENSTOCK_PREFIX={self.prefix!r} must be at most 100 letters, digits, '.', '_' and '-': "
                "it stands before the names of topics, groups and Redis keys"
            )
        for kafka in _OWN & set(self.kafka):
            raise SettingError(
                f"PENSTOCK_KAFKA_{kafka.upper().replace('.', '_')}: that nothing is lost or counted twice rests on "
                f"Penstock's own {kafka}; leave this variable out"
            )
        for url, (name, todo) in zip(
            (self.models, self.mlflow, self.schema_registry), _ADDRESSES, strict=True
        ):
            if any(map(_has_password, url.split(","))):
                raise SettingError(f"{name} holds a password, which logs would show: {todo}")

    @property
    def client_id(self) -> str:
        """What Kafka's quotas and logs know this deployment's clients by."""
        return self.kafka.get("client.id") or f"{self.prefix}penstock"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read `KAFKA_BOOTSTRAP_SERVERS`, `REDIS_URL` and `PENSTOCK_…`; unset variables keep their defaults."""
        env = os.environ if env is None else env
        given = {
            "bootstrap": env.get("KAFKA_BOOTSTRAP_SERVERS"),
            "redis_url": env.get("REDIS_URL"),
            "prefix": env.get("PENSTOCK_PREFIX"),
            "models": env.get("PENSTOCK_MODELS"),
            "secret": env.get("PENSTOCK_SECRET"),
            "mlflow": env.get("PENSTOCK_MLFLOW"),
            "slot": env.get("PENSTOCK_SLOT"),
            "host": env.get("PENSTOCK_HOST"),
            "serve_cert": env.get("PENSTOCK_SERVE_CERT"),
            "serve_key": env.get("PENSTOCK_SERVE_KEY"),
            "console_users": env.get("PENSTOCK_CONSOLE_USERS"),
            "console_anonymous": env.get("PENSTOCK_CONSOLE_ANONYMOUS"),
            "console_user_header": env.get("PENSTOCK_CONSOLE_USER_HEADER"),
            "console_groups_header": env.get("PENSTOCK_CONSOLE_GROUPS_HEADER"),
            "console_cert": env.get("PENSTOCK_CONSOLE_CERT"),
            "console_key": env.get("PENSTOCK_CONSOLE_KEY"),
            "schema_registry": env.get("PENSTOCK_SCHEMA_REGISTRY_URL"),
            "schema_registry_user": env.get("PENSTOCK_SCHEMA_REGISTRY_USER"),
            "schema_registry_password": env.get("PENSTOCK_SCHEMA_REGISTRY_PASSWORD"),
            "schema_registry_token": env.get("PENSTOCK_SCHEMA_REGISTRY_TOKEN"),
            "schema_registry_ca": env.get("PENSTOCK_SCHEMA_REGISTRY_CA"),
            "schema_registry_cert": env.get("PENSTOCK_SCHEMA_REGISTRY_CERT"),
            "schema_registry_key": env.get("PENSTOCK_SCHEMA_REGISTRY_KEY"),
        }
        skew = "PENSTOCK_FEATURIZE_SKEW_S"
        kafka = {
            name.removeprefix("PENSTOCK_KAFKA_").lower().replace("_", "."): value
            for name, value in env.items()
            if name.startswith("PENSTOCK_KAFKA_")
        }
        return cls(
            former_secrets=_several(env, "PENSTOCK_SECRETS_FORMER"),
            serve_tokens=_several(env, "PENSTOCK_SERVE_TOKENS"),
            access_log=int(_number(env, "PENSTOCK_SERVE_ACCESS_LOG", 0)),
            console_hosts=_several(env, "PENSTOCK_CONSOLE_HOSTS"),
            console_proxies=_several(env, "PENSTOCK_CONSOLE_PROXIES"),
            console_groups=_several(env, "PENSTOCK_CONSOLE_GROUPS"),
            port=int(_number(env, "PENSTOCK_PORT", cls.port)),
            connect_timeout_s=_number(env, "PENSTOCK_CONNECT_TIMEOUT_S", cls.connect_timeout_s),
            featurize_skew_s=_number(env, skew, 0.0) if skew in env else None,
            kafka=kafka,
            **{name: value for name, value in given.items() if value is not None},
        )


def _has_password(url: str) -> bool:
    """Whether an address names a user and a password; an account or a folder may have an @ in its name.

    >>> [_has_password(one) for one in ("http://mia:x@h", "ftp://mia:x@h/a", "abfs://models@account/a", "s3://models/a@b:c")]
    [True, True, False, False]
    """
    scheme, _, rest = url.strip().partition("://")
    if scheme in ("http", "https"):
        return "@" in rest.partition("?")[0]
    return ":" in rest.partition("/")[0].rpartition("@")[0]


def _several(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    """What a variable lists, separated by commas."""
    return tuple(one.strip() for one in env.get(name, "").split(",") if one.strip())


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingError(f"{name}={text!r} is not a number") from None
    if not 0 <= value < inf:
        raise SettingError(f"{name}={text!r} must be finite and not negative")
    return value


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment that gives a child process these settings."""
    given = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap,
        "REDIS_URL": settings.redis_url,
        "PENSTOCK_PREFIX": settings.prefix,
        "PENSTOCK_MODELS": settings.models,
        "PENSTOCK_SECRET": settings.secret,
        "PENSTOCK_SECRETS_FORMER": ",".join(settings.former_secrets),
        "PENSTOCK_MLFLOW": settings.mlflow,
        "PENSTOCK_SLOT": settings.slot,
        "PENSTOCK_HOST": settings.host,
        "PENSTOCK_SERVE_TOKENS": ",".join(settings.serve_tokens),
        "PENSTOCK_SERVE_CERT": settings.serve_cert,
        "PENSTOCK_SERVE_KEY": settings.serve_key,
        "PENSTOCK_SERVE_ACCESS_LOG": str(settings.access_log),
        "PENSTOCK_SCHEMA_REGISTRY_URL": settings.schema_registry,
        "PENSTOCK_SCHEMA_REGISTRY_USER": settings.schema_registry_user,
        "PENSTOCK_SCHEMA_REGISTRY_PASSWORD": settings.schema_registry_password,
        "PENSTOCK_SCHEMA_REGISTRY_TOKEN": settings.schema_registry_token,
        "PENSTOCK_SCHEMA_REGISTRY_CA": settings.schema_registry_ca,
        "PENSTOCK_SCHEMA_REGISTRY_CERT": settings.schema_registry_cert,
        "PENSTOCK_SCHEMA_REGISTRY_KEY": settings.schema_registry_key,
        "PYTHONHASHSEED": "0",
    }
    return {**os.environ, **given}
