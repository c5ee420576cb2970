"""The kinds of features and how a definition file writes them: `count("1h", where="amount > 100")`.

Laws: a `Feature` is frozen, holds no state and is checked when it is made; an error is one line that shows the call
and says what to write instead.
"""

from dataclasses import dataclass
from typing import Any, Literal

from penstock.features.define.durations import LONGEST_MS, is_duration, milliseconds
from penstock.features.define.expressions import FieldType, expression
from penstock.features.windows.tiles import MAX_TILES, tile_hop_ms

Kind = Literal[
    "count", "sum", "mean", "variance", "std", "min", "max", "first", "last", "last_n", "distinct", "quantile", "top_k",
    "histogram", "decayed_count", "decayed_sum", "decayed_mean", "rate", "since_last", "ratio", "row",
]  # fmt: skip
Shape = Literal["sliding", "hopping", "session"]
FieldKind = Literal["number", "text"]

KINDS: frozenset[str] = frozenset(Kind.__args__)  # type: ignore[attr-defined]
FIELDLESS = frozenset({"count", "rate", "since_last", "decayed_count", "ratio", "row"})
UNWINDOWED = frozenset({"decayed_count", "decayed_sum", "decayed_mean", "since_last", "ratio", "row"})
BEFORE = frozenset({"first", "last", "last_n", "since_last"})  # read before an event of the view's own source
TEXTUAL = frozenset({"first", "last", "last_n"})  # may hold text
LISTS = frozenset({"last_n", "top_k", "histogram"})
DECAYED = frozenset({"decayed_count", "decayed_sum", "decayed_mean"})
MAX_VALUES = 1000  # of last_n, top_k and histogram
# The values that are worked out, and so may leave the numbers a model can use; the others are fields, counts or times.
COMPUTED = frozenset({
    "sum", "mean", "variance", "std", "decayed_sum", "decayed_mean", "row", "ratio",
})  # fmt: skip
# What a number may be at most, in an event and as the value of a feature: beyond, the one is a dead letter, the other null.
# A StandardScaler keeps sums of squares, and one that is infinite spoils the model for good: the square of a value must stay a
# number through 1e8 events. A variance is a square already, so fields end at half the digits that values do.
MOST_FIELD = 1e75
MOST_VALUE = 1e150


@dataclass(frozen=True, slots=True)
class Feature:
    """One value per entity: an aggregate of a field's values, inside a window or over all time.

    Attributes:
        kind: the aggregate.
        field: the event field it reads; None for kinds that read none.
        window_ms: length of the window in milliseconds, or the gap of a session; None is all time.
        window: the window as it was written, such as `"3h"`; None is all time.
        shape: what the window does as time goes on; see `windows` and `sessions`.
        hop_ms: by how much a hopping window moves, or the tile of a sliding one.
        where: only events that meet this expression count; None is all.
        default: the value if nothing counts; None is the kind's own: 0 for what counts or adds up, else null.
        constant: the parameter of the kind: quantile, n, k, edges, half-life in ms, or an expression's text.
        holds: what the field holds, `number` or `text`.
        parts: the two features of a ratio.

    Make one with the functions of this file.

    """

    kind: Kind
    field: str | None = None
    window_ms: int | None = None
    window: str | None = None
    shape: Shape = "sliding"
    hop_ms: int | None = None
    where: str | None = None
    default: float | str | None = None
    constant: Any = None
    holds: FieldKind = "number"
    parts: tuple["Feature", ...] = ()

    def __post_init__(self) -> None:
        """Refuse a combination that has no meaning."""
        if self.kind not in KINDS:
            raise ValueError(f"feature kind {self.kind!r} is unknown: use one of {' '.join(sorted(KINDS))}")
        if (self.field is None) != (self.kind in FIELDLESS):
            raise ValueError(f"{self.kind} {'takes no field' if self.kind in FIELDLESS else 'needs a field'}")
        if self.field is not None:
            if not isinstance(self.field, str) or not self.field:
                raise ValueError(f"field {self.field!r} is not the name of a field")
            if is_duration(self.field):
                raise ValueError(
                    f"{self.kind}({self.field!r}): {self.field!r} is a duration, and the field comes first: "
                    f"{self.kind}('price', {self.field!r})"
                )
            object.__setattr__(self, "field", str.__str__(self.field))  # of a subclass of text, the plain one
        for name in ("window_ms", "hop_ms"):
            length = getattr(self, name)
            if length is not None and not (type(length) is int and 1 <= length <= LONGEST_MS):
                raise ValueError(
                    f"{name} {length!r} is not a whole number of milliseconds up to ten thousand years"
                )
        if self.window_ms is None:
            if self.kind == "rate":
                raise ValueError("rate needs a window")
        elif self.kind in UNWINDOWED:
            raise ValueError(f"{self.kind} takes no window")
        elif self.shape == "sliding":
            object.__setattr__(self, "hop_ms", self.hop_ms or tile_hop_ms(self.window_ms))
        if self.where is not None:
            object.__setattr__(self, "where", expression(self.where).text)
        if self.holds == "text" and self.kind not in TEXTUAL:
            raise ValueError(f"{self.kind} needs numbers")
        self._check_default()
        self._check_constant()

    def _check_default(self) -> None:
        if self.default is None:
            return
        if self.kind in LISTS:
            raise ValueError(f"{self.kind} gives a list, or null: it takes no default")
        default: Any = self.default
        if self.holds == "text":
            if not isinstance(default, str):
                raise ValueError(f"default {default!r} is not text")
            object.__setattr__(self, "default", str.__str__(default))
        elif not (_is_number(default) and abs(default) <= MOST_FIELD):
            raise ValueError(f"default {default!r} is not a finite number up to {MOST_FIELD:g}")
        else:
            object.__setattr__(self, "default", float(default))

    def _check_constant(self) -> None:
        kind, constant = self.kind, self.constant
        if kind == "quantile":
            if not (_is_number(constant) and 0 <= constant <= 1):
                raise ValueError(f"quantile {constant!r} is not between 0 and 1")
            object.__setattr__(self, "constant", constant if type(constant) is int else float(constant))
        if kind in ("last_n", "top_k") and not (type(constant) is int and 1 <= constant <= MAX_VALUES):
            raise ValueError(f"{constant!r} is not a number of values from 1 to {MAX_VALUES}")
        if kind in DECAYED and not (type(constant) is int and 1 <= constant <= LONGEST_MS):
            raise ValueError(
                f"half-life {constant!r} is not a whole number of milliseconds up to ten thousand years"
            )
        if kind == "histogram":
            if not (
                isinstance(constant, tuple)
                and 1 <= len(constant) <= MAX_VALUES
                and all(_is_number(e) and abs(e) <= MOST_FIELD for e in constant)
                and all(a < b for a, b in zip(constant, constant[1:], strict=False))
            ):
                raise ValueError(f"edges {constant!r} are not 1 to {MAX_VALUES} finite numbers, ascending")
            edges = tuple(e if type(e) is int else float(e) for e in constant)
            object.__setattr__(self, "constant", edges)
        if kind == "row":
            object.__setattr__(self, "constant", expression(constant).text)
        if kind == "ratio" and (
            len(self.parts) != 2
            or any(not isinstance(p, Feature) or not p.numeric or p.parts for p in self.parts)
        ):
            raise ValueError("a ratio is of two features that give one number each, and of no ratio")

    @property
    def numeric(self) -> bool:
        """Whether the value is a number (or null), and so may be an input of a model."""
        return self.kind not in LISTS and self.holds == "number"

    @property
    def span(self) -> int:
        """Length of the window in tiles, beside the newest."""
        assert self.window_ms is not None and self.hop_ms is not None
        return self.window_ms // self.hop_ms - (1 if self.shape == "hopping" else 0)

    @property
    def reads(self) -> dict[str, FieldType]:
        """The fields that it reads, and what each must hold."""
        found: dict[str, FieldType] = {}
        if self.field is not None:
            found[self.field] = "any" if self.kind in ("distinct", "top_k") else self.holds
        for text in (self.where, self.constant if self.kind == "row" else None):
            for name, kind in expression(text).fields.items() if text else ():
                found[name] = joined(name, found.get(name, "any"), kind)
        for part in self.parts:
            for name, kind in part.reads.items():
                found[name] = joined(name, found.get(name, "any"), kind)
        return found

    def describe(self) -> dict[str, Any]:
        """Say everything that determines the value, as plain JSON-able data; what is usual is left out."""
        said: dict[str, Any] = {"kind": self.kind, "field": self.field, "window_ms": self.window_ms}
        usual = (
            self.shape == "sliding"
            and self.window_ms is not None
            and self.hop_ms == tile_hop_ms(self.window_ms)
        )
        if self.window_ms is not None and not usual:
            said |= {"shape": self.shape, "hop_ms": self.hop_ms}
        for name, value, unsaid in (
            ("where", self.where, None), ("default", self.default, None), ("holds", self.holds, "number"),
            ("constant", list(self.constant) if isinstance(self.constant, tuple) else self.constant, None),
        ):  # fmt: skip
            if value != unsaid:
                said[name] = value
        if self.parts:
            said["parts"] = [part.describe() for part in self.parts]
        return said


def _is_number(value: Any) -> bool:
    """Whether it is a whole or a floating number; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def joined(name: str, a: FieldType, b: FieldType) -> FieldType:
    """Give what a field must hold to be used in two ways."""
    if a in ("any", b):
        return b
    if b == "any":
        return a
    raise ValueError(f"field {name!r} is used as a number and as text")


@dataclass(frozen=True, slots=True)
class Window:
    """A window that does not slide. Make one with `tumbling`, `hopping`, `sliding` or `session`."""

    length_ms: int
    text: str
    shape: Shape
    hop_ms: int | None


def _hops(length: str, every: str, shape: Shape) -> Window:
    length_ms, hop_ms = milliseconds(length), milliseconds(every)
    call = f"{shape}({length!r}, {every!r})"
    if length_ms % hop_ms:
        raise ValueError(f"{call}: {length} is not a multiple of {every}")
    if length_ms // hop_ms > MAX_TILES:
        raise ValueError(f"{call}: more than {MAX_TILES} steps")
    return Window(length_ms, f"{shape}({length} by {every})", shape, hop_ms)


def sliding(length: str, tile: str) -> Window:
    """Give a sliding window with tiles of this length instead of the usual (see `windows.tile_hop_ms`)."""
    return _hops(length, tile, "sliding")


def hopping(length: str, every: str) -> Window:
    """Give the newest window that holds the moment of reading, of those that open `every` so often.

    Borders are multiples of `every` since 1970 in UTC; one belongs to the window that it opens.
    """
    return _hops(length, every, "hopping")


def tumbling(length: str) -> Window:
    """Give the window that holds the moment of reading, of those that follow one another, such as "today" in UTC."""
    return _hops(length, length, "hopping")


def session(gap: str) -> Window:
    """Give the entity's current session: its newest events as long as they are at most `gap` apart."""
    return Window(milliseconds(gap), f"session({gap})", "session", None)
