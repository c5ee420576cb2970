"""What a definition file says about features: a ``View`` of an entity and its ``Feature`` s.

Laws: definitions are frozen, hold no state and are validated when constructed; an error is one line that
names the view, the feature and what to write instead. ``describe()`` holds everything that changes a value,
and nothing else, so that equal descriptions mean equal features.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

from features.durations import milliseconds
from features.windows import tile_hop_ms

Kind = Literal["count", "sum", "mean", "min", "max", "last", "since_last"]

FIELDLESS = frozenset({"count", "since_last"})
UNWINDOWED = frozenset({"last", "since_last"})
KINDS = frozenset({"count", "sum", "mean", "min", "max", "last", "since_last"})

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class NamedSource(Protocol):
    """Anything with the name of a source topic; ``stream.Source`` is the real one."""

    @property
    def name(self) -> str:
        """Name of the source."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One value per entity: an aggregate of a field's values, inside a sliding window or over all time.

    Attributes:
        kind: the aggregate.
        field: the event field it reads; None for ``count`` and ``since_last``, which read none.
        window_ms: length of the window in milliseconds; None is all time.
        window: the window as it was written, such as ``"3h"``; None is all time.

    Make one with ``count``, ``sum``, ``mean``, ``min``, ``max``, ``last`` or ``since_last``.

    """

    kind: Kind
    field: str | None = None
    window_ms: int | None = None
    window: str | None = None

    def __post_init__(self) -> None:
        """Refuse a combination that has no meaning."""
        if self.kind not in KINDS:
            raise ValueError(f"feature kind {self.kind!r} is unknown: use one of {' '.join(sorted(KINDS))}")
        if (self.field is None) != (self.kind in FIELDLESS):
            raise ValueError(f"{self.kind} {'takes no field' if self.kind in FIELDLESS else 'needs a field'}")
        if self.window_ms is not None:
            if self.kind in UNWINDOWED:
                raise ValueError(f"{self.kind} takes no window")
            tile_hop_ms(self.window_ms)


def _feature(kind: Kind, of: str | None, window: str | None) -> Feature:
    """Build a feature, naming the call in any error."""
    arguments = ", ".join(repr(a) for a in (of, window) if a is not None)
    if kind not in FIELDLESS and (not isinstance(of, str) or not of):
        raise ValueError(f"{kind}({arguments}): the first argument is the name of a field, got {of!r}")
    try:
        window_ms = None if window is None else milliseconds(window)
        return Feature(kind, of, window_ms, window)
    except ValueError as problem:
        raise ValueError(f"{kind}({arguments}): {problem}") from None


def count(window: str | None = None) -> Feature:
    """Count the events in the window, null fields or not; without a window, of all time. Empty: 0."""
    return _feature("count", None, window)


def sum(field: str, window: str | None = None) -> Feature:  # noqa: A001 - the field's own word
    """Sum of the field's values that are not null, in the window or of all time. Empty: 0."""
    return _feature("sum", field, window)


def mean(field: str, window: str | None = None) -> Feature:
    """Mean of the field's values that are not null, in the window or of all time. Empty: null."""
    return _feature("mean", field, window)


def min(field: str, window: str | None = None) -> Feature:  # noqa: A001 - the field's own word
    """Least of the field's values that are not null, in the window or of all time. Empty: null."""
    return _feature("min", field, window)


def max(field: str, window: str | None = None) -> Feature:  # noqa: A001 - the field's own word
    """Greatest of the field's values that are not null, in the window or of all time. Empty: null."""
    return _feature("max", field, window)


def last(field: str) -> Feature:
    """Value of the newest event (by time, then ``tie``) whose field is not null. None yet: null."""
    return _feature("last", field, None)


def since_last() -> Feature:
    """Seconds (a float) between the entity's newest event and the moment of reading. None yet: null."""
    return _feature("since_last", None, None)


@dataclass(frozen=True)
class View:
    """The features of one kind of entity, computed from one source.

    Attributes:
        name: name of the view, unique in its pipeline: letters, digits, ``_`` and ``-``.
        source: where the events come from.
        key: the field that names the entity, or a tuple of fields for a compound key.
        features: the features by name, in the order in which their values are reported.
        ttl: how long the public document of an entity outlives its last write. At least the longest window.

    >>> from types import SimpleNamespace
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
                    f"{where} is {feature!r}: use count, sum, mean, min, max, last or since_last"
                )
            if feature.window_ms is not None and feature.window_ms > ttl_ms:
                raise ValueError(
                    f"{where}: its window {feature.window} outlives the view's ttl {self.ttl}: raise ttl"
                )
        object.__setattr__(self, "features", MappingProxyType(dict(self.features)))

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
    def fields(self) -> tuple[str, ...]:
        """The fields that the features read, each once; they must hold numbers or null."""
        return tuple(dict.fromkeys(f.field for f in self.features.values() if f.field is not None))

    @property
    def ttl_ms(self) -> int:
        """``ttl`` in milliseconds."""
        return milliseconds(self.ttl)

    @property
    def horizon_ms(self) -> int | None:
        """How far back the state looks, tail tile included; None if some feature remembers all time."""
        windows = [f.window_ms for f in self.features.values()]
        known = [w + tile_hop_ms(w) for w in windows if w is not None]
        return sorted(known)[-1] if len(known) == len(windows) else None

    def describe(self) -> dict[str, Any]:
        """Say everything that determines the values, as plain JSON-able data (for the recipe's digest)."""
        return {
            "name": self.name,
            "source": self.source.name,
            "key": list(self.key_fields),
            "ttl_ms": self.ttl_ms,
            "features": [
                {"name": name, "kind": f.kind, "field": f.field, "window_ms": f.window_ms}
                for name, f in self.features.items()
            ],
        }
