"""The words of a definition file: one function per kind of feature.

Common arguments: `window` is a duration such as `"3h"` (sliding), one of `tumbling hopping sliding session`, or
None for all time; `where` is an expression that an event must meet to count (see `expressions`); `default` is
the value when nothing counts. Null values of a field are skipped.
"""

from collections.abc import Sequence
from typing import Any

from penstock.features.define.durations import milliseconds
from penstock.features.define.kinds import FIELDLESS, Feature, FieldKind, Kind, Window

WindowLike = str | Window | None


def _feature(kind: Kind, of: str | None, window: WindowLike = None, **rest: Any) -> Feature:
    """Build a feature, naming the call in any error."""
    shown = window.text if isinstance(window, Window) else window
    said = {k: v for k, v in rest.items() if k in ("where", "default") and v is not None}
    given = [repr(a) for a in (of, shown) if a is not None] + [f"{k}={v!r}" for k, v in said.items()]
    arguments = ", ".join(given)
    if kind not in FIELDLESS and (not isinstance(of, str) or not of):
        raise ValueError(f"{kind}({arguments}): the first argument is the name of a field, got {of!r}")
    try:
        if window is None:
            return Feature(kind, of, **rest)
        if isinstance(window, Window):
            return Feature(kind, of, window.length_ms, window.text, window.shape, window.hop_ms, **rest)
        return Feature(kind, of, milliseconds(window), window, **rest)
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{kind}({arguments}): {problem}") from None


def count(window: WindowLike = None, *, where: str | None = None, default: float | None = None) -> Feature:
    """Count the events in the window, null fields or not; without a window, of all time. Empty: 0."""
    return _feature("count", None, window, where=where, default=default)


def rate(window: WindowLike, *, where: str | None = None, default: float | None = None) -> Feature:
    """Events per second: the count over the length of the window (of a session: over its gap). Empty: 0."""
    return _feature("rate", None, window, where=where, default=default)


def sum(  # noqa: A001 - the field's own word
    field: str, window: WindowLike = None, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Sum of the field's values, in the window or of all time. Empty: 0."""
    return _feature("sum", field, window, where=where, default=default)


def mean(
    field: str, window: WindowLike = None, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Mean of the field's values, in the window or of all time. Empty: null."""
    return _feature("mean", field, window, where=where, default=default)


def variance(
    field: str, window: WindowLike = None, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Sample variance (divided by n - 1), stable for large offsets. Fewer than two values: null."""
    return _feature("variance", field, window, where=where, default=default)


def std(
    field: str, window: WindowLike = None, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Sample standard deviation, the root of `variance`. Fewer than two values: null."""
    return _feature("std", field, window, where=where, default=default)


def min(  # noqa: A001 - the field's own word
    field: str, window: WindowLike = None, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Least of the field's values, in the window or of all time. Empty: null."""
    return _feature("min", field, window, where=where, default=default)


def max(  # noqa: A001 - the field's own word
    field: str, window: WindowLike = None, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Greatest of the field's values, in the window or of all time. Empty: null."""
    return _feature("max", field, window, where=where, default=default)


def first(
    field: str,
    window: WindowLike = None,
    *,
    where: str | None = None,
    default: float | str | None = None,
    holds: FieldKind = "number",
) -> Feature:
    """Value of the oldest event (by time, then `tie`) whose field is not null. None: null.

    `holds="text"` for a field of text; such a feature is in documents, but cannot be a model's input.
    """
    return _feature("first", field, window, where=where, default=default, holds=holds)


def last(
    field: str,
    window: WindowLike = None,
    *,
    where: str | None = None,
    default: float | str | None = None,
    holds: FieldKind = "number",
) -> Feature:
    """Value of the newest event (by time, then `tie`) whose field is not null. None yet: null.

    `holds="text"` as for `first`.
    """
    return _feature("last", field, window, where=where, default=default, holds=holds)


def last_n(
    field: str, n: int, window: WindowLike = None, *, where: str | None = None, holds: FieldKind = "number"
) -> Feature:
    """List the values of the `n` newest events, newest first. Empty: null. For documents, not for models."""
    return _feature("last_n", field, window, where=where, holds=holds, constant=n)


def distinct(
    field: str, window: WindowLike = None, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Count the different values: exactly up to 256, then by HyperLogLog (standard error 2.3 %). Empty: 0."""
    return _feature("distinct", field, window, where=where, default=default)


def quantile(
    field: str, q: float, window: WindowLike = None, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Value of rank `floor(q * (n - 1))`, within 1 % of it, for magnitudes from 1e-9 to 1e12. Empty: null."""
    return _feature("quantile", field, window, where=where, default=default, constant=q)


def top_k(field: str, k: int, window: WindowLike = None, *, where: str | None = None) -> Feature:
    """List the `k` most frequent values as `[value, count]`. Empty: null. For documents, not for models.

    Exact up to `max(100, 10 * k)` different values in the window; beyond, a count may be too low by the number of
    events over that. Equal counts are ordered by value.
    """
    return _feature("top_k", field, window, where=where, constant=k)


def histogram(
    field: str, edges: Sequence[float], window: WindowLike = None, *, where: str | None = None
) -> Feature:
    """List the counts between given edges: below the first, from each (inclusive) to the next, from the last on.

    Empty: null. For documents, not for models.
    """
    return _feature("histogram", field, window, where=where, constant=tuple(edges))


def decayed_count(half_life: str, *, where: str | None = None, default: float | None = None) -> Feature:
    """Count the events, each with a weight that halves every `half_life`. Empty: 0."""
    return _decayed("decayed_count", None, half_life, where, default)


def decayed_sum(
    field: str, half_life: str, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Sum the field's values, each with a weight that halves every `half_life`. Empty: 0."""
    return _decayed("decayed_sum", field, half_life, where, default)


def decayed_mean(
    field: str, half_life: str, *, where: str | None = None, default: float | None = None
) -> Feature:
    """Mean of the field's values by weights that halve every `half_life`; it does not change with time alone.

    Empty: null, and so it is some 1,000 half-lives after the last event, when no weight is left.
    """
    return _decayed("decayed_mean", field, half_life, where, default)


def _decayed(kind: Kind, of: str | None, half_life: str, where: str | None, default: float | None) -> Feature:
    try:
        half_life_ms = milliseconds(half_life)
    except ValueError as problem:
        raise ValueError(f"{kind}: half-life: {problem}") from None
    return _feature(kind, of, where=where, default=default, constant=half_life_ms)


def since_last(*, where: str | None = None, default: float | None = None) -> Feature:
    """Seconds (a float) between the entity's newest event and the moment of reading. None yet: null."""
    return _feature("since_last", None, where=where, default=default)


def ratio(over: Feature, under: Feature, *, default: float | None = None) -> Feature:
    """Divide one feature by another. Null if either is null or `under` is 0.

    >>> declined = ratio(count("1h", where="declined > 0"), count("1h"))
    """
    return _feature("ratio", None, parts=(over, under), default=default)


def row(text: str, *, where: str | None = None, default: float | None = None) -> Feature:
    """Compute a number from the fields of one event: in a vector of the event itself, else of the newest event.

    >>> row("amount / items").constant
    'amount / items'
    """
    return _feature("row", None, constant=text, where=where, default=default)
