"""From features to specialised functions: the columns a view keeps, and where.

Laws: features of one hop share tiles, those of one gap sessions, and equal columns are kept once. The functions are
generated as text by `codegen`, because this is the innermost loop of the worker and most of a generic one would be
looking up what is known beforehand.
"""

from collections.abc import Collection
from math import isfinite
from types import NoneType
from typing import Any, NamedTuple

from penstock.features.define.kinds import COMPUTED, MOST_VALUE, Feature
from penstock.features.windows.aggregates import FUNCTIONS, OPS, Column
from penstock.features.windows.sessions import SessionGroup
from penstock.features.windows.tiles import Fold, Merge, TileGroup

Columns = dict[Column, int]
TOP_K_CAPACITY = 100


class Program(NamedTuple):
    """Where everything is kept. `totals`, `tiles[g]` and `visits[g]` map a column to its place in a list."""

    features: tuple[Feature, ...]
    leaves: tuple[Feature, ...]  # the features, with the parts of a ratio instead of it
    number_fields: frozenset[str]
    totals: Columns
    groups: tuple[TileGroup, ...]
    tiles: tuple[Columns, ...]
    session_groups: tuple[SessionGroup, ...]
    visits: tuple[Columns, ...]
    constants: dict[str, Any]

    def constant(self, value: Any) -> str:
        """Name a constant for the generated code."""
        for name, known in self.constants.items():
            if name[0] == "K" and type(known) is type(value) and known == value:
                return name
        name = f"K{len(self.constants)}"
        self.constants[name] = value
        return name


def columns_of(f: Feature) -> list[Column]:
    """List what a feature needs in the order that `codegen` reads it; none for `since_last` and `ratio`."""
    has_default = f.default is not None

    def column(op: str, constant: Any = None, of: str | None = f.field) -> Column:
        return Column(op, of, f.where, constant)

    n = column("n")
    match f.kind:
        case "count" | "rate":
            return [n]
        case "sum":
            return [column("sum"), n] if has_default else [column("sum")]
        case "mean":
            return [column("sum"), n]
        case "variance" | "std":
            return [column("moments")]
        case "min" | "max" | "first" | "last" | "distinct":
            return [column(f.kind)]
        case "last_n":
            return [column("last_n", f.constant)]
        case "quantile":
            return [column("buckets")]
        case "top_k":
            return [column("counts", max(TOP_K_CAPACITY, 10 * f.constant))]
        case "histogram":
            return [column("histogram", f.constant)]
        case "decayed_count":
            return [column("weight", f.constant)]
        case "decayed_sum" | "decayed_mean":
            return [column("weighted", f.constant), column("weight", f.constant)]
        case "since_last":
            return [column("newest")] if f.where else []
        case "row":
            return [Column("row", f.constant, f.where)]
        case "ratio":
            return []


def plan(features: tuple[Feature, ...], grace_ms: int) -> Program:
    """Lay out the state of a view with these features."""
    leaves = tuple(leaf for f in features for leaf in (f.parts or (f,)))
    totals: Columns = {}
    by_hop: dict[int, Columns] = {}
    by_gap: dict[int, Columns] = {}
    spans: dict[int, dict[int, set[Column]]] = {}
    for f in leaves:
        if f.window_ms is None:
            columns = totals
        elif f.hop_ms is None:
            columns = by_gap.setdefault(f.window_ms, {})
        else:
            columns = by_hop.setdefault(f.hop_ms, {})
            spans.setdefault(f.hop_ms, {}).setdefault(f.span, set()).update(columns_of(f))
        for column in columns_of(f):
            columns.setdefault(column, len(columns))
    hops, gaps = sorted(by_hop), sorted(by_gap)
    types = [f.reads for f in leaves]
    numbers = frozenset(name for reads in types for name, kind in reads.items() if kind == "number")
    constants = dict(FUNCTIONS)
    groups = []
    for hop in hops:
        columns, needs = by_hop[hop], [needed for _, needed in sorted(spans[hop].items())]
        groups.append(
            TileGroup(
                hop,
                sorted(spans[hop]),
                zero(columns),
                _merge(columns),
                [_merge(columns, needed) for needed in needs],
                [_fold(columns, needed) for needed in needs],
            )
        )
    return Program(
        features, leaves, numbers, totals, tuple(groups), tuple(by_hop[hop] for hop in hops),
        tuple(SessionGroup(gap, grace_ms, zero(by_gap[gap]), _merge(by_gap[gap])) for gap in gaps),
        tuple(by_gap[gap] for gap in gaps), constants,
    )  # fmt: skip


def zero(columns: Columns) -> list[Any]:
    """Give the empty tile."""
    return [OPS[column.op].zero for column in columns]


def combine(column: Column, a: str, b: str, constant: str = "") -> str:
    """Give the text that merges two columns."""
    return OPS[column.op].merge.format(a=a, b=b, c=constant)


def bounded(f: Feature, text: str) -> str:
    """Give the text that makes null of what no model can use: what is not finite, or too great to be squared."""
    if f.kind not in COMPUTED:
        return text
    return f"(w if (w := {text}) is not None and {-MOST_VALUE!r} <= w <= {MOST_VALUE!r} else None)"


def literal(value: Any) -> str:
    """Give a value as it stands in the text; ValueError for what its `repr` would not give back."""
    if type(value) not in (str, int, float, NoneType) or (type(value) is float and not isfinite(value)):
        raise ValueError(f"{value!r} cannot stand in generated code: give a finite number or text")
    return repr(value)


def _named(columns: Columns) -> tuple[dict[str, Any], list[tuple[Column, int, str]]]:
    names: dict[str, Any] = dict(FUNCTIONS)
    listed = []
    for column, i in columns.items():
        names[f"K{i}"] = column.constant
        listed.append((column, i, f"K{i}"))
    return names, listed


def _merge(columns: Columns, needed: Collection[Column] | None = None) -> Merge:
    """Compile the merge of two tiles, or of the columns needed only."""
    names, listed = _named(columns)
    body = ", ".join(
        combine(column, f"a[{i}]", f"b[{i}]", k) if needed is None or column in needed else "None"
        for column, i, k in listed
    )
    merge: Merge = eval(f"lambda a, b: [{body}]", names)
    return merge


def merge_totals(columns: Columns) -> Merge:
    """Compile the merge of two lists of all-time columns."""
    return _merge(columns)


def _fold(columns: Columns, needed: Collection[Column]) -> Fold:
    """Compile the merge of many tiles; columns that are not needed stay empty."""
    names, listed = _named(columns)
    names["ZERO"] = zero(columns)
    parts = "".join(f"a{i}, " for _, i, _ in listed)
    lines = [
        "def fold(tiles):",
        f"    {parts}= ZERO",
        "    for tile in tiles:",
        f"        {parts.replace('a', 'b')}= tile",
        *(
            f"        a{i} = {combine(column, f'a{i}', f'b{i}', k)}"
            for column, i, k in listed
            if column in needed
        ),
        f"    return [{parts}]",
    ]
    exec("\n".join(lines), names)
    fold: Fold = names["fold"]
    return fold
