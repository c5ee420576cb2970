"""What a definition file says about features: a `View` of an entity and its `Feature` s.

Laws: definitions are frozen, hold no state and are validated when constructed; an error is one line that
names the view, the feature and what to write instead. `describe()` holds everything that changes a value,
and nothing else, so that equal descriptions mean equal features.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

from penstock.features.define.durations import milliseconds
from penstock.features.define.expressions import FieldType
from penstock.features.define.kinds import Feature, joined

__all__ = ["STATE_LAYOUT", "Feature", "NamedSource", "View"]

STATE_LAYOUT = (
    3  # raise when the encoding of states changes: older ones are then never read as something else
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class NamedSource(Protocol):
    """Anything with the name of a source topic; `stream.Source` is the real one."""

    @property
    def name(self) -> str:
        """Name of the source."""


@dataclass(frozen=True)
class View:
    """The features of one kind of entity, computed from one source.

    Attributes:
        name: name of the view, unique in its pipeline: letters, digits, `_` and `-`.
        source: where the events come from.
        key: the field that names the entity, or a tuple of fields for a compound key.
        features: the features by name, in the order in which their values are reported.
        ttl: how long the public document of an entity outlives its last write. At least the longest window.

    >>> from types import SimpleNamespace
    >>> from penstock import count
    >>> arrivals = SimpleNamespace(name="arrivals")
    >>> view = View("airport", arrivals, key="origin", features=dict(landed_1h=count("1h")))
    >>> view.key_fields, view.fields
    (('origin',), ())

    Raises:
        ValueError: naming the view, and the feature if it is one.

    """

    name: str
    source: NamedSource
    key: str | tuple[str, ...]
    features: Mapping[str, Feature] = field(hash=False)
    ttl: str = "30d"

    def __post_init__(self) -> None:
        """Validate everything, once."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"view name {self.name!r} must be letters, digits, '_' and '-', starting with a letter"
            )
        if not isinstance(getattr(self.source, "name", None), str):
            raise ValueError(f"view {self.name!r}: its source {self.source!r} has no name; pass a Source")
        self._check_key()
        if not isinstance(self.features, Mapping) or not self.features:
            raise ValueError(f"view {self.name!r} has no features: pass features=dict(name=count('1h'), ...)")
        try:
            ttl_ms = milliseconds(self.ttl)
        except ValueError as problem:
            raise ValueError(f"view {self.name!r}: ttl: {problem}") from None
        for name, feature in self.features.items():
            where = f"view {self.name!r}, feature {name!r}"
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValueError(
                    f"{where}: a name must be letters, digits, '_' and '-', starting with a letter"
                )
            if not isinstance(feature, Feature):
                raise ValueError(
                    f"{where} is {feature!r}: use count, sum, mean and the other functions of features"
                )
            if feature.window_ms is not None and feature.window_ms > ttl_ms:
                raise ValueError(
                    f"{where}: its window {feature.window} outlives the view's ttl {self.ttl}: raise ttl"
                )
        object.__setattr__(self, "features", MappingProxyType(dict(self.features)))
        try:
            types = self.field_types
        except ValueError as problem:
            raise ValueError(f"view {self.name!r}: {problem}") from None
        for part in self.key_fields:
            if types.get(part) == "number":
                raise ValueError(f"view {self.name!r}: its key {part!r} is not a number to compute with")

    def _check_key(self) -> None:
        """Refuse a key that names no entity."""
        key = (self.key,) if isinstance(self.key, str) else self.key
        if not isinstance(key, tuple) or not key or not all(isinstance(part, str) and part for part in key):
            raise ValueError(
                f"view {self.name!r}: key {self.key!r} must be a field name or a tuple of field names"
            )
        if len(set(key)) != len(key):
            raise ValueError(f"view {self.name!r}: key {self.key!r} names a field twice")

    @property
    def key_fields(self) -> tuple[str, ...]:
        """The fields that name the entity, in order."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def field_types(self) -> dict[str, FieldType]:
        """The fields that the features read and what each must hold if it is not null: `number text any`."""
        found: dict[str, FieldType] = {}
        for feature in self.features.values():
            for name, kind in feature.reads.items():
                found[name] = joined(name, found.get(name, "any"), kind)
        return found

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that the features read, each once."""
        return tuple(self.field_types)

    @property
    def numeric(self) -> tuple[str, ...]:
        """The features whose value is a number or null: those that a model may read, in the order of a vector."""
        return tuple(name for name, feature in self.features.items() if feature.numeric)

    @cached_property
    def ttl_ms(self) -> int:
        """`ttl` in milliseconds."""
        return milliseconds(self.ttl)

    @cached_property
    def version(self) -> str:
        """Eight hex digits for everything that determines the values and how states are stored; `ttl` does not."""
        meaning = {name: said for name, said in self.describe().items() if name != "ttl_ms"}
        canonical = json.dumps([STATE_LAYOUT, meaning], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    @property
    def horizon_ms(self) -> int | None:
        """How far back the state looks, tail tile included; None if some feature remembers more than any window."""
        found = 0
        for f in self.features.values():
            for part in f.parts or (f,):
                if part.window_ms is None or part.hop_ms is None:
                    return None
                found = max(found, (part.span + 1) * part.hop_ms)
        return found

    @property
    def silence_ms(self) -> int | None:
        """After how long without an event the state says no more than that of an entity never seen; None is never."""
        found = 0
        for f in self.features.values():
            for part in f.parts or (f,):
                if part.window_ms is None:
                    return None
                found = max(
                    found, part.window_ms + 1 if part.hop_ms is None else (part.span + 1) * part.hop_ms
                )
        return found

    @property
    def grace_ms(self) -> int:
        """How late an event may come, as the source says; a day if it does not."""
        return int(getattr(self.source, "grace_ms", 86_400_000))

    def describe(self) -> dict[str, Any]:
        """Say everything that determines the values, as plain JSON-able data (for the recipe's digest)."""
        return {
            "name": self.name,
            "source": self.source.name,
            "key": list(self.key_fields),
            "ttl_ms": self.ttl_ms,
            "features": [{"name": name, **f.describe()} for name, f in self.features.items()],
        }
