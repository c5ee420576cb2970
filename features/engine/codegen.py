"""The text of a view's functions: fold an event in, and read the values.

Laws: text is made of the project's own templates, and of what `literal` takes: finite numbers, fields and defaults; what a
definition says in words (expressions) is compiled by `expressions` and called by name. So nothing that a definition
says can become code. Print `source(program)` to read it.

Names in the text: `f0` a field, `x0` an expression's value, `r0 p0 h0` a ring, the event's tile in it and its
columns, `v0` a session's columns, `m…` a merged column, `d…` a decay, `b…` a value read before the event.
"""

from collections.abc import Iterable
from typing import Any

from penstock.features.define.expressions import expression
from penstock.features.define.kinds import BEFORE, Feature
from penstock.features.engine.program import Program, bounded, columns_of, combine, literal
from penstock.features.windows.aggregates import NEVER, OPS, Column

Lines = list[str]


def functions(program: Program) -> dict[str, Any]:
    """Compile `update`, `values`, `vector` and `update_own`."""
    text = source(program)
    namespace: dict[str, Any] = {
        **program.constants,
        **{f"ZERO{g}": group.zero for g, group in enumerate(program.groups)},
    }
    exec(text, namespace)
    return namespace


def source(program: Program) -> str:
    """Give the text of the functions."""
    writer = _Writer(program)
    fold = writer.fold()
    numeric = [f for f in program.features if f.numeric]
    needed = _leaves(numeric)
    before = [f for f in needed if f.kind in BEFORE]
    after = [f for f in needed if f.kind not in BEFORE]
    own = ["newest = state.newest"]
    if before:
        own += ["t = at if at > newest else newest", *writer.read(before)]
        own += [f"b{program.leaves.index(f)} = {writer.value(f)}" for f in before]
    own += [*fold, "if at > newest: state.newest = newest = at", "t = newest", *writer.read(after)]
    own.append(f"return [{', '.join(writer.result(f, own=True) for f in numeric)}]")

    def reading(features: Iterable[Feature]) -> Lines:
        chosen = list(features)
        return [
            "newest = state.newest", "t = at if at > newest else newest", *writer.read(_leaves(chosen)),
            f"return [{', '.join(writer.result(f) for f in chosen)}]",
        ]  # fmt: skip

    update = ["newest = state.newest", *fold, "if at > newest: state.newest = at"]
    return "\n".join(
        line
        for head, body in (
            ("def update(state, at, tie, event):", update),
            ("def update_own(state, at, tie, event):", own),
            ("def values(state, at):", reading(program.features)),
            ("def vector(state, at):", reading(numeric)),
        )
        for line in (head, *("    " + line for line in body))
    )


def _leaves(features: Iterable[Feature]) -> list[Feature]:
    return [leaf for f in features for leaf in (f.parts or (f,))]


class _Writer:
    """Writes the parts of one program's functions."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.fields: list[str] = list(dict.fromkeys(name for f in program.leaves for name in f.reads))
        texts = [
            text
            for f in program.leaves
            for text in (f.where, f.constant if f.kind == "row" else None)
            if text
        ]
        self.expressions: list[str] = list(dict.fromkeys(texts))

    # -- folding an event in -----------------------------------------------------------------------------------

    def fold(self) -> Lines:
        """Add one event to every column. `+ 0.0` makes -0.0, which min and max cannot tell apart, 0.0."""
        program = self.program
        code = ["get = event.get"] if self.fields else []
        for i, name in enumerate(self.fields):
            code.append(f"f{i} = get({literal(name)})")
            if name in program.number_fields:
                code.append(f"if f{i} is not None: f{i} = float(f{i}) + 0.0")
        for i, text in enumerate(self.expressions):
            known = expression(text)
            names = [f"f{self.fields.index(name)}" for name in known.fields]
            call = f"{program.constant(known.function)}({', '.join(names)})"
            code.append(f"x{i} = None if {' or '.join(f'{name} is None' for name in names)} else {call}")
        guarded: dict[str, Lines] = {}
        if program.totals:
            code += ["totals = state.totals", *self._decay()]
            self._add(guarded, "totals", program.totals)
        if program.groups:
            code.append("rings = state.rings")
        for g, group in enumerate(program.groups):
            code += [
                f"r{g} = rings[{g}]",
                f"p{g} = at // {literal(group.hop_ms)}",
                f"h{g} = r{g}.head if p{g} == r{g}.top else r{g}.place(p{g})",
            ]
            self._add(guarded, f"h{g}", program.tiles[g])
        for g in range(len(program.session_groups)):
            code.append(f"v{g} = state.sessions[{g}].place(at)")
            self._add(guarded, f"v{g}", program.visits[g])
        for guard, lines in guarded.items():
            code += [f"if {guard}:", *("    " + line for line in lines)] if guard else lines
        return code

    def _add(self, guarded: dict[str, Lines], place: str, columns: dict[Column, int]) -> None:
        for column, at in columns.items():
            conditions, value = [], ""
            if column.where is not None:
                conditions.append(f"x{self.expressions.index(column.where)}")
            if column.op == "row":
                value = f"x{self.expressions.index(column.field or '')}"
            elif column.field is not None:
                value = f"f{self.fields.index(column.field)}"
                conditions.append(f"{value} is not None")
            decay = (
                f"e{self._half_lives().index(column.constant)}" if column.op in ("weight", "weighted") else ""
            )
            line = OPS[column.op].add.format(
                p=f"{place}[{at}]", v=value, e=decay, c=self.program.constant(column.constant)
            )
            guarded.setdefault(" and ".join(conditions), []).append(line)

    def _half_lives(self) -> list[int]:
        found = [c.constant for c in self.program.totals if c.op in ("weight", "weighted")]
        return list(dict.fromkeys(found))

    def _decay(self) -> Lines:
        """Bring what decays to the newest event; `e` is the weight of this one."""
        half_lives = self._half_lives()
        if not half_lives:
            return []
        newer, late = [], []
        for i, half_life in enumerate(half_lives):
            newer.append(f"d{i} = 2.0 ** ((newest - at) / {literal(half_life)})")
            for column, at in self.program.totals.items():
                if column.op in ("weight", "weighted") and column.constant == half_life:
                    newer.append(f"totals[{at}] *= d{i}")
            newer.append(f"e{i} = 1.0")
            late.append(f"e{i} = 2.0 ** ((at - newest) / {literal(half_life)})")
        indented = [*("    " + line for line in newer), "else:", *("    " + line for line in late)]
        return ["if at > newest:", *indented]

    # -- reading values ----------------------------------------------------------------------------------------

    def read(self, leaves: Iterable[Feature]) -> Lines:
        """Bring everything to the moment `t`, and merge what each windowed feature needs, once."""
        program, leaves = self.program, list(leaves)
        code = ["totals = state.totals"] if program.totals else []
        decays = [f.constant for f in leaves if f.kind in ("decayed_count", "decayed_sum")]
        for half_life in dict.fromkeys(decays):
            i = self._half_lives().index(half_life)
            code.append(f"d{i} = 2.0 ** ((newest - t) / {literal(half_life)})")
        if program.groups:
            code.append("rings = state.rings")
        merged: dict[str, None] = {}
        seen: set[str] = set()
        for f in leaves:
            if f.window_ms is None:
                continue
            if f.hop_ms is None:
                g = self._sessions(f)
                if f"v{g}" not in seen:
                    seen.add(f"v{g}")
                    code.append(f"v{g} = state.sessions[{g}].current(t)")
                continue
            g, k = self._place(f)
            if f"r{g}" not in seen:
                seen.add(f"r{g}")
                code += [
                    f"r{g} = rings[{g}]",
                    f"q{g} = t // {literal(program.groups[g].hop_ms)}",
                    f"if not r{g}.since <= q{g} < r{g}.limit: r{g}.seek(q{g})",
                ]
            if f"c{g}_{k}" not in seen:
                seen.add(f"c{g}_{k}")
                code += [f"c{g}_{k} = r{g}.closed[{k}]", f"h{g}_{k} = r{g}.heads[{k}]"]
            for column in columns_of(f):
                if column.op != "distinct":
                    at = program.tiles[g][column]
                    a, b = f"c{g}_{k}[{at}]", f"h{g}_{k}[{at}]"
                    both = combine(column, a, b, program.constant(column.constant))
                    merged[f"m{g}_{k}_{at} = {both}"] = None
        return code + list(merged)

    def _sessions(self, f: Feature) -> int:
        return next(g for g, group in enumerate(self.program.session_groups) if group.gap_ms == f.window_ms)

    def _place(self, f: Feature) -> tuple[int, int]:
        """Find the group and the window of a windowed feature."""
        g = next(i for i, group in enumerate(self.program.groups) if group.hop_ms == f.hop_ms)
        return g, self.program.groups[g].spans.index(f.span)

    def _names(self, f: Feature) -> list[str]:
        """Name a feature's columns as the generated code does."""
        program, columns = self.program, columns_of(f)
        if f.window_ms is None:
            return [f"totals[{program.totals[column]}]" for column in columns]
        if f.hop_ms is None:
            g = self._sessions(f)
            return [f"v{g}[{program.visits[g][column]}]" for column in columns]
        g, k = self._place(f)
        if f.kind == "distinct":
            at = program.tiles[g][columns[0]]
            return [f"c{g}_{k}[{at}], h{g}_{k}[{at}]"]
        return [f"m{g}_{k}_{program.tiles[g][column]}" for column in columns]

    def result(self, f: Feature, own: bool = False) -> str:
        """Give the value of one feature; of an `own` event, what is read before it is in `b…` already."""

        def leaf(part: Feature) -> str:
            if own and part.kind in BEFORE:
                return f"b{self.program.leaves.index(part)}"
            if own and part.kind == "row":
                return self._own_row(part)
            return self.value(part)

        if not f.parts:
            return bounded(f, leaf(f))
        i = self.program.features.index(f)
        over, under = (bounded(part, leaf(part)) for part in f.parts)
        divided = (
            f"(o{i} / u{i} if (o{i} := {over}) is not None and (u{i} := {under}) else {literal(f.default)})"
        )
        return bounded(f, divided)

    def _own_row(self, f: Feature) -> str:
        value = f"x{self.expressions.index(f.constant)}"
        conditions = [f"{value} is not None"] if f.default is not None else []
        if f.where is not None:
            conditions.append(f"x{self.expressions.index(f.where)}")
        return f"({value} if {' and '.join(conditions)} else {literal(f.default)})" if conditions else value

    def value(self, f: Feature) -> str:
        """Give the value of one leaf from its columns."""
        if f.kind == "since_last" and f.where is None:
            return f"((t - newest) / 1000.0 if newest != {NEVER} else {literal(f.default)})"
        names = self._names(f)
        m, default = names[0], literal(f.default)
        or_zero = (lambda text, seen: f"({text} if {seen} else {default})") if f.default is not None else (
            lambda text, seen: text
        )  # fmt: skip
        match f.kind:
            case "count":
                return or_zero(f"float({m})", m)
            case "rate":
                return or_zero(f"{m} / {literal((f.window_ms or 0) / 1000)}", m)
            case "sum":
                return or_zero(m, names[-1])
            case "mean":
                return f"({m} / {names[1]} if {names[1]} else {default})"
            case "variance" | "std":
                root = " ** 0.5" if f.kind == "std" else ""
                return f"(s{root} if (s := sample_variance({m})) is not None else {default})"
            case "min" | "max":
                empty = "1e999" if f.kind == "min" else "-1e999"
                return f"({m} if {m} != {empty} else {default})"
            case "first" | "last" | "row":
                kept = f"{m}[2] if {m} is not None"
                return f"({kept} {'and ' + m + '[2] is not None ' if f.kind == 'row' else ''}else {default})"
            case "last_n":
                return f"([dated[2] for dated in {m}] if {m} else None)"
            case "distinct":
                return (
                    f"(distinct_size({m}) or {default})" if f.default is not None else f"distinct_size({m})"
                )
            case "quantile":
                return f"(s if (s := quantile_of({m}, {literal(f.constant)})) is not None else {default})"
            case "top_k":
                return f"most_frequent({m}, {literal(f.constant)})"
            case "histogram":
                return f"([float(n) for n in {m}] if {m} else None)"
            case "decayed_count" | "decayed_sum":
                text = f"{m} * d{self._half_lives().index(f.constant)}"
                return or_zero(text, names[-1])
            case "decayed_mean":
                return f"({m} / {names[1]} if {names[1]} else {default})"
            case "since_last":
                return f"((t - {m}) / 1000.0 if {m} != {NEVER} else {default})"
        raise AssertionError(f.kind)
