"""The errors whose sentence says all: what, where, and what to do."""

from __future__ import annotations

from penstock.features.engine.packing import StateMismatch
from penstock.features.redis.store import StoreRefused, StoreUnavailable
from penstock.stream.definitions import DefinitionError
from penstock.stream.log.protocol import LogError
from penstock.stream.models.version import BadEnvelope
from penstock.stream.process.settings import SettingError
from penstock.stream.stack import StackError

EXPECTED = (
    DefinitionError, SettingError, LogError, StoreRefused, StoreUnavailable, StackError, BadEnvelope, StateMismatch,
)  # fmt: skip
