"""A pipeline's topology as text: the picture of the flow, and a list of what each step reads and writes.

Laws of this file:
- Pure: a `Topology` in, lines out. Nothing is drawn that the topology does not say, so documents made of it cannot be wrong.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from penstock.stream.steps import Keys, Step, Topology

ARROW = "──►"
LEFT = 16  # columns left of the stem


def picture(found: Topology) -> str:
    """The flow from producers to commands, top down: a step on the left of the stem, what it writes on its right."""
    lines = [f" producers {ARROW} {', '.join(found.sources)}   (yours: JSON objects)", _stem()]
    drawn: set[str] = set(found.sources)
    for step in found.steps:
        inputs = [topic for topic in step.reads if topic not in drawn | _memory(found, step)]
        if step.group and inputs:
            lines += [" " * LEFT + " ▼", *_wrapped(inputs), *_meaning(found, inputs), _stem()]
        drawn.update(inputs)
        lines.append(_stem(step.name, step.does + (f"  ({step.within})" if step.within else "")))
        onward = _read_by_next_role(found, step)
        lines += [_stem("", text, branch=True) for text in _outputs(found, step, onward)]
    return "\n".join(lines)


def _memory(found: Topology, step: Step) -> set[str]:
    """The topics that only this step writes and reads."""
    others = {topic for one in (*found.steps, *found.tools) if one is not step for topic in one.writes}
    return (set(step.reads) & set(step.writes)) - others


def _read_by_next_role(found: Topology, step: Step) -> tuple[str, ...]:
    """The topics that the stem goes through after this step: what the next role alone lives on."""
    after = found.steps[found.steps.index(step) + 1 :]
    following = next((one for one in after if one.group), None)
    return following.reads if following is not None and len(following.reads) == 1 and step.group else ()


def _outputs(found: Topology, step: Step, onward: Sequence[str]) -> Iterator[str]:
    """What a step writes beside the stem: Redis first, then a topic a line."""
    public = [space.name for space in step.keys if not space.name.startswith("penstock:")]
    private = "state and position (private)" if step.group else "versions (private)"
    if step.keys:
        yield "Redis: " + ", ".join([*_short(public), *([private] if len(public) < len(step.keys) else [])])
    first = found.steps[0]
    for topic in step.writes:
        if topic in _memory(found, step):
            yield f"{topic}   its memory: {found.holds(topic)}"
        elif topic in _read_by_next_role(found, first) and step is not first:
            yield f"{topic}   the way back: a Command"
        elif topic not in onward:
            yield f"{topic}   {found.holds(topic)}"


def _wrapped(names: Sequence[str], width: int = 100) -> list[str]:
    return textwrap.wrap(
        "  ".join(names), width, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False
    )


def _meaning(found: Topology, names: Sequence[str]) -> list[str]:
    """What one topic holds; of many, each was said where it is written."""
    return [f"{' ' * 6}{found.holds(names[0])}"] if len(names) == 1 else []


def _short(names: list[str]) -> list[str]:
    """Key names, those of several views as one."""
    views = [name for name in names if name.count(":") == 3]
    if len(views) < 2:
        return names
    pipeline = views[0].split(":")[1]
    return [f"features:{pipeline}:<view>:<entity>", *(name for name in names if name not in views)]


def _stem(name: str = "", text: str = "", *, branch: bool = False) -> str:
    return f"      {name:<{LEFT - 5}}{'├────►' if branch else '│'} {text}".rstrip()


def describe(found: Topology) -> str:
    """Every step with the topics it reads and writes and the Redis keys it keeps, then the tools."""
    lines: list[str] = []
    for step in found.steps:
        of = step.within or f"group {step.group}"
        lines.append(f"step {step.name}  ({of}): {step.does}")
        lines += _listed("reads", step.reads) + _listed("writes", step.writes)
        lines += _listed("keys", _said(step.keys)) + _listed("reads keys", _said(step.reads_keys))
    lines.append("tools of operators")
    for tool in found.tools:
        lines.append(f"  {tool.name}: {tool.does}")
    return "\n".join(lines)


def _said(spaces: tuple[Keys, ...]) -> list[str]:
    width = max((len(space.name) for space in spaces), default=0)
    return [f"{space.name:<{width}}  {space.holds}" for space in spaces]


def _listed(head: str, rows: Iterable[str]) -> list[str]:
    return [f"  {head if number == 0 else '':<10} {row}" for number, row in enumerate(rows)]
