"""The columns of a tile: how each kind starts, takes a value, and merges with another.

Laws that hold in this file:
- `merge` is associative (floats: within rounding) and has `zero` as its neutral element; it never changes its
  arguments. `add` changes nothing but the column itself.
- Templates are text for `program`: `{p}` is the column, `{v}` the value, `{c}` the name of the column's
  constant; `{a}` and `{b}` are columns, `a` the older.
- `pack` makes a column's value fit for MessagePack with sorted sets and maps, `unpack` makes it what it was; none:
  nothing to do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from penstock.features.windows import sketches

NEVER = -(1 << 62)  # event time of "no event yet"; before any real one, and a 64-bit integer for MessagePack
INF = float("inf")

Moments = tuple[int, float, float] | None  # count, mean, sum of squared deviations
Dated = tuple[int, int, Any]  # event time, tie, value


class Column(NamedTuple):
    """What one column of a tile holds: an operation over a field's values, of the events that meet a condition.

    `field` is None for what reads no field; `where` is an expression's text; `constant` a parameter.
    """

    op: str
    field: str | None = None
    where: str | None = None
    constant: Any = None


class Op(NamedTuple):
    """One kind of column."""

    zero: Any
    add: str
    merge: str
    pack: Callable[[Any], Any] | None = None
    unpack: Callable[[Any], Any] | None = None


def add_moments(moments: Moments, value: float) -> Moments:
    """Add one value to count, mean and squared deviations (Welford 1962): nothing large is ever subtracted."""
    if moments is None:
        return (1, value, 0.0)
    n, mean, squares = moments
    n += 1
    off = value - mean
    mean += off / n
    return (n, mean, squares + off * (value - mean))


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Merge two (Chan, Golub and LeVeque 1979)."""
    if a is None or b is None:
        return b if a is None else a
    n, off = a[0] + b[0], b[1] - a[1]
    return (n, a[1] + off * (b[0] / n), a[2] + b[2] + off * off * (a[0] * b[0] / n))


def merge_first(a: Dated | None, b: Dated | None) -> Dated | None:
    """Give the older, by time and then tie."""
    if a is None or b is None:
        return b if a is None else a
    return a if a[:2] <= b[:2] else b


def merge_last(a: Dated | None, b: Dated | None) -> Dated | None:
    """Give the newer, by time and then tie."""
    if a is None or b is None:
        return b if a is None else a
    return b if a[:2] <= b[:2] else a


def add_last_n(kept: list[Dated] | None, dated: Dated, n: int) -> list[Dated]:
    """Keep the `n` newest, newest first."""
    if kept is None:
        return [dated]
    place = 0
    while place < len(kept) and kept[place][:2] > dated[:2]:
        place += 1
    kept.insert(place, dated)
    del kept[n:]
    return kept


def merge_last_n(a: list[Dated] | None, b: list[Dated] | None, n: int) -> list[Dated] | None:
    """Keep the `n` newest of both."""
    if a is None or b is None:
        return b if a is None else a
    return sorted(a + b, key=lambda dated: dated[:2], reverse=True)[:n]


def add_histogram(counts: list[int] | None, value: float, edges: tuple[float, ...]) -> list[int]:
    """Count one value: bin 0 is below the first edge, bin i from edge i - 1 (inclusive) to edge i (exclusive)."""
    if counts is None:
        counts = [0] * (len(edges) + 1)
    place = 0
    for edge in edges:
        if value < edge:
            break
        place += 1
    counts[place] += 1
    return counts


def merge_histograms(a: list[int] | None, b: list[int] | None) -> list[int] | None:
    """Add two."""
    if a is None or b is None:
        return b if a is None else a
    return [x + y for x, y in zip(a, b, strict=True)]


def sample_variance(moments: Moments) -> float | None:
    """Variance with Bessel's correction; None for fewer than two values."""
    return None if moments is None or moments[0] < 2 else moments[2] / (moments[0] - 1)


def _dated(data: Any) -> Any:
    return None if data is None else tuple(data)


def _all_dated(data: Any) -> Any:
    return None if data is None else [tuple(dated) for dated in data]


def _unpack_distinct(data: Any) -> sketches.Distinct:
    if isinstance(data, list):
        return set(data)
    if data is None or isinstance(data, bytes):
        return None if data is None else bytearray(data)
    raise TypeError(f"a set is stored as {type(data).__name__}")


def _sorted_pairs(counts: dict[Any, int] | None) -> Any:
    return counts and sorted(counts.items(), key=lambda item: (isinstance(item[0], str), item[0]))


def _pairs(data: Any) -> Any:
    return None if data is None else dict(data)


OPS: dict[str, Op] = {
    "n": Op(0, "{p} += 1", "{a} + {b}"),
    "sum": Op(0.0, "{p} += {v}", "{a} + {b}"),
    "min": Op(INF, "if {v} < {p}: {p} = {v}", "{a} if {a} <= {b} else {b}"),
    "max": Op(-INF, "if {v} > {p}: {p} = {v}", "{a} if {a} >= {b} else {b}"),
    "newest": Op(NEVER, "if at > {p}: {p} = at", "{a} if {a} >= {b} else {b}"),
    "moments": Op(None, "{p} = add_moments({p}, {v})", "merge_moments({a}, {b})", None, _dated),
    "first": Op(
        None, "if {p} is None or (at, tie) < {p}[:2]: {p} = (at, tie, {v})", "merge_first({a}, {b})",
        None, _dated,
    ),
    "last": Op(
        None, "if {p} is None or at > {p}[0] or (at == {p}[0] and tie > {p}[1]): {p} = (at, tie, {v})",
        "merge_last({a}, {b})", None, _dated,
    ),
    "row": Op(
        None, "if {p} is None or at > {p}[0] or (at == {p}[0] and tie > {p}[1]): {p} = (at, tie, {v})",
        "merge_last({a}, {b})", None, _dated,
    ),
    "last_n": Op(None, "{p} = add_last_n({p}, (at, tie, {v}), {c})", "merge_last_n({a}, {b}, {c})", None, _all_dated),
    "distinct": Op(
        None, "{p} = add_distinct({p}, {v})", "merge_distinct({a}, {b})", None, _unpack_distinct
    ),
    "buckets": Op(None, "{p} = add_bucket({p}, {v})", "merge_buckets({a}, {b})", _sorted_pairs, _pairs),
    "counts": Op(None, "{p} = add_count({p}, {v}, {c})", "merge_counts({a}, {b}, {c})", _sorted_pairs, _pairs),
    "histogram": Op(None, "{p} = add_histogram({p}, {v}, {c})", "merge_histograms({a}, {b})"),
    # Of all time only; brought to the newest event by `program` before anything is added.
    "weight": Op(0.0, "{p} += {e}", "{a} + {b}"),
    "weighted": Op(0.0, "{p} += {e} * {v}", "{a} + {b}"),
}  # fmt: skip

FUNCTIONS: dict[str, Any] = {
    f.__name__: f
    for f in (
        add_moments, merge_moments, merge_first, merge_last, add_last_n, merge_last_n, add_histogram, merge_histograms,
        sample_variance, sketches.add_distinct, sketches.merge_distinct, sketches.distinct_size, sketches.add_bucket,
        sketches.merge_buckets, sketches.quantile_of, sketches.add_count, sketches.merge_counts,
        sketches.most_frequent,
    )
}  # fmt: skip
