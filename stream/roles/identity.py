"""Whose keys a Redis holds: one document a deployed pipeline says it, and every role reads it before it touches any other key.

Laws of this file:
- The document is written once, by the first start, and never changed; `penstock reset` deletes it with everything else.
- Two deployments that would share keys differ in prefix or Kafka cluster: one of them is refused before it reads a position.
"""

from __future__ import annotations

import msgspec

from penstock.features.redis.keys import identity_key
from penstock.features.redis.keyspace import Keyspace
from penstock.stream.process.settings import SettingError
from penstock.stream.topology import deployed


class OtherDeployment(SettingError):
    """The keys in this Redis belong to another deployment; the message says to which, and what to do."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment of a pipeline. `cluster` is Kafka's own id, empty where the broker does not say; `kafka` an address of it."""

    pipeline: str
    prefix: str = ""
    cluster: str = ""
    kafka: str = ""

    @property
    def key(self) -> str:
        """Where the document stands."""
        return identity_key(deployed(self.pipeline, self.prefix))


def found_identity(keyspace: Keyspace, here: Identity) -> Identity | None:
    """What stands where `here` would; None where no role ever started. Raises `OtherDeployment` for what cannot be read."""
    stored = keyspace.read([here.key])[0]
    return None if stored is None else _decoded(stored, here)


def claim(keyspace: Keyspace, here: Identity, where: str) -> None:
    """Say that the keys at `where` (the Redis's address) are this deployment's, or see that they are.

    Raises `OtherDeployment` when another deployment's document stands there.
    """
    found = _decoded(keyspace.claim(here.key, msgspec.json.encode(here)), here)
    check_names(found, here, where)
    if found.cluster and here.cluster and found.cluster != here.cluster:
        raise OtherDeployment(
            f"Redis at {where} holds pipeline {here.pipeline!r} of another Kafka cluster: {found.cluster}"
            f"{_at(found)}, and this role reads {here.cluster}{_at(here)}. Its positions mean nothing here: give this deployment "
            f"a PENSTOCK_PREFIX or another REDIS_URL, or set KAFKA_BOOTSTRAP_SERVERS to the cluster it belongs to; "
            f"`penstock reset FILE` starts over if that cluster is gone for good"
        )


def check_names(found: Identity, here: Identity, where: str) -> None:
    """Raise `OtherDeployment` when the keys belong to a pipeline or a prefix that only looks the same when joined."""
    if (found.prefix, found.pipeline) != (here.prefix, here.pipeline):
        raise OtherDeployment(
            f"Redis at {where} holds {deployed(here.pipeline, here.prefix)!r} as pipeline {found.pipeline!r} with "
            f"PENSTOCK_PREFIX={found.prefix!r}, and this is pipeline {here.pipeline!r} with PENSTOCK_PREFIX={here.prefix!r}: "
            f"both would use the same topics and keys. Choose another prefix or another name"
        )


def _decoded(stored: bytes, here: Identity) -> Identity:
    try:
        return msgspec.json.decode(stored, type=Identity)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OtherDeployment(
            f"the Redis key {here.key!r} says whose keys these are and cannot be read ({error}): "
            f"delete it if they are this deployment's"
        ) from None


def _at(one: Identity) -> str:
    return f" (at {one.kafka})" if one.kafka else ""
