"""From features to three specialised functions: the columns a view keeps, the code to fill and read them.

The functions are generated as text, as ``dataclasses`` does, because this is the innermost loop of the worker
and most of a generic one would be looking up what is known beforehand. Print ``source(program)`` to read it.

Laws: features of one hop share tiles, and equal columns are kept once; text is made of numbers and of fields
as ``repr`` literals only, so nothing that a definition says can become code.
"""

from typing import Any, NamedTuple

from features.definitions import Feature
from features.windows import Merge, Tile, TileGroup, tile_hop_ms

NEVER = -(1 << 62)  # event time of "no event yet"; before any real one, and a 64-bit integer for MessagePack
INF = float("inf")

_ZERO: dict[str, int | float] = {"n": 0, "sum": 0.0, "min": INF, "max": -INF}
_COLUMNS = {"count": ("n",), "sum": ("sum",), "mean": ("n", "sum"), "min": ("min",), "max": ("max",)}

Column = tuple[str | None, str]  # (field, aggregate); field None counts events


class Program(NamedTuple):
    """Where everything is kept. ``totals`` and ``columns[g]`` map a column to its place in a list."""

    features: tuple[Feature, ...]
    fields: tuple[str, ...]
    totals: dict[Column, int]
    totals_zero: Tile
    last_fields: tuple[str, ...]
    groups: tuple[TileGroup, ...]
    columns: tuple[dict[Column, int], ...]


def plan(features: tuple[Feature, ...]) -> Program:
    """Lay out the state of a view with these features."""
    fields = tuple(dict.fromkeys(f.field for f in features if f.field is not None))
    totals: dict[Column, int] = {}
    by_hop: dict[int, dict[Column, int]] = {}
    spans: dict[int, set[int]] = {}
    for f in features:
        if f.kind not in _COLUMNS:
            continue
        columns = totals
        if f.window_ms is not None:
            hop = tile_hop_ms(f.window_ms)
            columns = by_hop.setdefault(hop, {})
            spans.setdefault(hop, set()).add(f.window_ms // hop)
        for aggregate in _COLUMNS[f.kind]:
            columns.setdefault((f.field, aggregate), len(columns))
    hops = sorted(by_hop)
    return Program(
        features,
        fields,
        totals,
        [_ZERO[aggregate] for _, aggregate in totals],
        tuple(dict.fromkeys(f.field for f in features if f.kind == "last" and f.field is not None)),
        tuple(
            TileGroup(hop, sorted(spans[hop]), [_ZERO[a] for _, a in by_hop[hop]], _merge(by_hop[hop]))
            for hop in hops
        ),
        tuple(by_hop[hop] for hop in hops),
    )


def functions(program: Program) -> dict[str, Any]:
    """Compile ``update``, ``values`` and ``update_own``."""
    namespace: dict[str, Any] = {
        "INF": INF,
        **{f"ZERO{g}": group.zero for g, group in enumerate(program.groups)},
    }
    exec(source(program), namespace)
    return namespace


def source(program: Program) -> str:
    """Give the text of the three functions."""
    before = _read_lasts(program)
    fold, read = _fold(program), _read(program)
    moment = ["if at < newest: at = newest"]
    result = [f"return [{', '.join(_value(program, i) for i in range(len(program.features)))}]"]
    update = ["newest = state.newest", *fold, "if at > newest: state.newest = at"]
    own = ["newest = state.newest", *before, *fold, *moment, "state.newest = at", *read, *result]
    values = ["newest = state.newest", *moment, *before, *read, *result]
    return "\n".join(
        line
        for head, body in (
            ("def update(state, at, tie, event):", update),
            ("def values(state, at):", values),
            ("def update_own(state, at, tie, event):", own),
        )
        for line in (head, *("    " + line for line in body))
    )


def _fold(program: Program) -> list[str]:
    """Add one event to every column. ``+ 0.0`` makes -0.0, which min and max cannot tell apart, 0.0."""
    code = ["get = event.get"] if program.fields else []
    for i, name in enumerate(program.fields):
        code += [f"f{i} = get({name!r})", f"if f{i} is not None: f{i} = float(f{i}) + 0.0"]
    places = [("totals", program.totals)] if program.totals else []
    if program.totals:
        code.append("totals = state.totals")
    if program.groups:
        code.append("rings = state.rings")
    for g, group in enumerate(program.groups):
        code += [
            f"r{g} = rings[{g}]",
            f"p{g} = at // {group.hop_ms}",
            f"h{g} = r{g}.head if p{g} == r{g}.pos else None",
            f"if h{g} is None: h{g} = r{g}.place(p{g})",
        ]
        places.append((f"h{g}", program.columns[g]))
    code += [f"{place}[{c[None, 'n']}] += 1" for place, c in places if (None, "n") in c]
    for i, name in enumerate(program.fields):
        adds = [
            _add(f"{place}[{at}]", a, f"f{i}")
            for place, c in places
            for (of, a), at in c.items()
            if of == name
        ]
        if name in program.last_fields:
            adds += [
                f"l = state.lasts[{program.last_fields.index(name)}]",
                f"if at > l[0] or (at == l[0] and tie > l[1]): l[0] = at; l[1] = tie; l[2] = f{i}",
            ]
        code += [f"if f{i} is not None:", *("    " + line for line in adds)]
    return code


def _add(place: str, aggregate: str, value: str) -> str:
    """Add one value to one column."""
    if aggregate in ("min", "max"):
        return f"if {value} {'<' if aggregate == 'min' else '>'} {place}: {place} = {value}"
    return f"{place} += {'1' if aggregate == 'n' else value}"


def _read_lasts(program: Program) -> list[str]:
    """Read what the newest event left; in ``update_own`` this comes before the event is folded in."""
    code = [f"last{i} = state.lasts[{i}][2]" for i in range(len(program.last_fields))]
    if any(f.kind == "since_last" for f in program.features):
        moment = "(at if at > newest else newest)"
        code.append(f"since = ({moment} - newest) / 1000.0 if newest != {NEVER} else None")
    return code


def _read(program: Program) -> list[str]:
    """Bring every ring to the moment of reading, and merge what each windowed feature needs, once."""
    code = ["totals = state.totals"] if program.totals else []
    if program.groups:
        code.append("rings = state.rings")
    for g, group in enumerate(program.groups):
        code += [
            f"r{g} = rings[{g}]",
            f"p{g} = at // {group.hop_ms}",
            f"if p{g} != r{g}.pos: r{g}.seek(p{g})",
            f"h{g} = r{g}.head or ZERO{g}",
            f"{''.join(f'c{g}_{k}, ' for k in range(len(group.spans)))} = r{g}.closed",
        ]
    merged = {_merged(program, f, a): None for f in program.features for a in _COLUMNS.get(f.kind, ())}
    return code + [line for line in merged if line]


def _place(program: Program, f: Feature) -> tuple[int, int]:
    """Find the group and the window of a windowed feature."""
    window_ms = f.window_ms or 0
    hop = tile_hop_ms(window_ms)
    g = next(i for i, group in enumerate(program.groups) if group.hop_ms == hop)
    return g, program.groups[g].spans.index(window_ms // hop)


def _name(program: Program, f: Feature, aggregate: str) -> str:
    """Name one column of one window (or of all time) as the generated code does."""
    if f.window_ms is None:
        return f"totals[{program.totals[f.field, aggregate]}]"
    g, k = _place(program, f)
    return f"m{g}_{k}_{program.columns[g][f.field, aggregate]}"


def _merged(program: Program, f: Feature, aggregate: str) -> str:
    """Merge the closed tiles and the head of one column; nothing to do for all time."""
    if f.window_ms is None:
        return ""
    g, k = _place(program, f)
    c = program.columns[g][f.field, aggregate]
    return f"{_name(program, f, aggregate)} = {_combine(aggregate, f'c{g}_{k}[{c}]', f'h{g}[{c}]')}"


def _combine(aggregate: str, a: str, b: str) -> str:
    """Merge two columns."""
    if aggregate in ("min", "max"):
        return f"{a} if {a} {'<=' if aggregate == 'min' else '>='} {b} else {b}"
    return f"{a} + {b}"


def _value(program: Program, i: int) -> str:
    """Give the value of feature ``i``."""
    f = program.features[i]
    if f.kind == "since_last":
        return "since"
    if f.kind == "last":
        return f"last{program.last_fields.index(f.field or '')}"
    parts = [_name(program, f, aggregate) for aggregate in _COLUMNS[f.kind]]
    if f.kind == "count":
        return f"float({parts[0]})"
    if f.kind == "mean":
        return f"{parts[1]} / {parts[0]} if {parts[0]} else None"
    if f.kind in ("min", "max"):
        return f"{parts[0]} if {parts[0]} != {'INF' if f.kind == 'min' else '-INF'} else None"
    return parts[0]


def _merge(columns: dict[Column, int]) -> Merge:
    """Compile the merge of two tiles."""
    body = ", ".join(_combine(aggregate, f"a[{i}]", f"b[{i}]") for (_, aggregate), i in columns.items())
    merge: Merge = eval(f"lambda a, b: [{body}]")
    return merge
