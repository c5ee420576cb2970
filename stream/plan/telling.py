"""A plan as people read it: in a terminal, and as Markdown for the comment of a pull request.

Laws of this file:
- Pure. Both say the same, the answer first; what stayed as it was is counted and not listed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from penstock.stream.plan.cost import Cost
from penstock.stream.plan.planned import IN_WORDS, Accepted, Plan

MARKER = "<!-- penstock plan -->"
"""By this a workflow finds its own comment again."""
UNITS = ("B", "kB", "MB", "GB", "TB")


def in_bytes(number: float) -> str:
    """A number of bytes for people.

    >>> in_bytes(1_234_567), in_bytes(0)
    ('1.23 MB', '0 B')
    """
    size = float(number)
    for unit in UNITS[:-1]:
        if size < 999.5:
            return f"{size:,.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} {UNITS[-1]}"


def in_time(seconds: float) -> str:
    """A length of time that was estimated.

    >>> in_time(0.34), in_time(12.4), in_time(200), in_time(9_000)
    ('0.3 s', '12 s', '3 min', '2.5 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"


def heading(plan: Plan, accepted: Collection[Accepted] = ()) -> str:
    """The answer in one line; what is accepted is told as such."""
    verdict = plan.verdict(accepted)
    known = [IN_WORDS[one] for one in plan.known(accepted)]
    if not known:
        return IN_WORDS[verdict]
    said = f"{' and '.join(known)}, which is accepted"
    return said if verdict in ("safe", "nothing") else f"{IN_WORDS[verdict]}; {said}"


def changed_lines(plan: Plan) -> list[str]:
    """What differs, a line each."""
    return [*plan.changes, *plan.others, *(f"restart only: {one}" for one in plan.restarts)]


def cost_lines(cost: Cost | None) -> list[str]:
    """What it takes, a line each; none where nothing has to be done or no server was asked."""
    if cost is None:
        return []
    lines = []
    if cost.seconds:
        topics = ", ".join(f"{count:,} of {topic}" for topic, count in cost.records.items() if count)
        lines.append(
            f"backfill: {f'{topics} read again' if topics else 'nothing is read again'}, {cost.states:,} states converted, "
            f"about {in_time(cost.seconds)} of CPU; features stand still for about {in_time(cost.stands_still_s)}"
        )
        if cost.bytes_now or cost.bytes_then:
            lines.append(
                f"Redis: about {in_bytes(cost.bytes_then)} of these views, {in_bytes(cost.bytes_now)} now, and up to "
                f"{in_bytes(cost.bytes_meanwhile)} more meanwhile"
            )
    if cost.entries:
        lines.append(
            f"learn: {cost.entries:,} records of the samples log folded again, about {in_time(cost.fold_s)} "
            "of CPU"
        )
    return lines


def text(plan: Plan, accepted: Collection[Accepted] = ()) -> str:
    """The plan for a terminal."""
    what = f"{plan.before} ({plan.against}) → {plan.after}" if plan.before else f"nothing → {plan.after}"
    lines = [
        f"{plan.pipeline}: {heading(plan, accepted)}",
        f"  recipe    {what}",
        f"  ships by  {plan.ships_by}",
    ]
    if refused := plan.refused or plan.lacks:
        lines.append(f"  refused   {refused}")
    lines += _block("changes", changed_lines(plan))
    moved = [one for one in plan.columns if one.fate != "kept" or one.why]
    same = len(plan.columns) - len(moved)
    rows = [[one.fate, one.name, one.why] for one in moved]
    lines += _block(
        "columns", _aligned([*rows, *([["kept", f"the other {same}", ""]] if same and moved else [])])
    )
    lines += _block("readers", _aligned([[one.level, one.who, one.what] for one in plan.readers]))
    if changed_lines(plan):
        lines += _block("model", _aligned([[one.becomes, one.thing, one.why] for one in plan.fates]))
    lines += _block("cost", cost_lines(plan.cost))
    lines += _block("backtest", _backtest(plan))
    lines += _block("notes", plan.notes)
    return "\n".join(lines)


def _block(name: str, lines: Sequence[str]) -> list[str]:
    return ["", name, *(f"  {line}" for line in lines)] if lines else []


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip() for row in rows]


def _backtest(plan: Plan) -> list[str]:
    one = plan.backtest
    if one is None:
        return []
    if one.refused:
        return [f"the last {one.asked}: none, {one.refused}"]
    return [f"the last {one.asked}: {one.verdict}", *one.lines]


# -- Markdown ---------------------------------------------------------------------------------------------------------------


def markdown(plan: Plan, accepted: Collection[Accepted] = ()) -> str:
    """The plan as a comment: what matters in sight, the rest folded away."""
    what = (
        f"`{plan.before}` ({plan.against}) → `{plan.after}`" if plan.before else f"nothing → `{plan.after}`"
    )
    lines = [
        MARKER,
        f"### Penstock plan of `{plan.pipeline}`: {heading(plan, accepted)}",
        "",
        f"Recipe {what}. Ships by {plan.ships_by}.",
    ]
    if refused := plan.refused or plan.lacks:
        lines += ["", f"**Refused:** {_cell(refused)}"]
    worst = [one for one in plan.readers if one.level == "breaks"]
    if worst:
        lines += ["", "**Breaks**", "", *(f"- {_cell(one.who)}: {_cell(one.what)}" for one in worst)]
    if plan.backtest is not None:
        first, *rest = _backtest(plan)
        lines += ["", f"**Backtest**, {_cell(first)}", *(f"<br>{_cell(one)}" for one in rest)]
    if cost := cost_lines(plan.cost):
        lines += ["", "**Cost**", "", *(f"- {one}" for one in cost)]
    moved = [one for one in plan.columns if one.fate != "kept" or one.why]
    lines += _folded(
        "Columns", _table(("", "column", "why"), [[one.fate, f"`{one.name}`", one.why] for one in moved])
    )
    if changed_lines(plan):
        fates = [[one.thing, one.becomes, one.why] for one in plan.fates]
        lines += _folded("Model, experts, samples, label, episodes", _table(("", "", ""), fates))
    others = [[one.level, one.who, one.what] for one in plan.readers if one.level != "breaks"]
    lines += _folded("Other readers and producers", _table(("", "who", "what"), others))
    lines += _folded("Changes", [f"- {_cell(one)}" for one in changed_lines(plan)])
    lines += _folded("Notes", [f"- {_cell(one)}" for one in plan.notes])
    return "\n".join(lines) + "\n"


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return ["", f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    return [_row(head), _row(["---"] * len(head)), *(_row([_cell(cell) for cell in row]) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(said: str) -> str:
    """A text that cannot break out of its cell or its line, nor become HTML."""
    return " ".join(said.split()).replace("<", "&lt;").replace("|", "\\|")
