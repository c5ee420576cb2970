"""Versions → a tree: which one each descends from, what made it, and what it is now.

Laws of this file:
- Pure. What is stored comes from the store, what takes part from the live model; each version stands in the tree once.
- A parent that neither of them knows any more stands there by its id alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.stream.console.episodes import happened
from penstock.stream.console.state import PipelineState
from penstock.stream.messages import ExpertShown, LiveModel
from penstock.stream.models.version import NAMED, RULE, Version
from penstock.stream.operate.expert_lines import kind_in_words, role
from penstock.stream.operate.reporting.moments import Moment

MADE = {
    "retrained": "made by a retrain",
    "retrain": "made by a retrain",
    "imported": "brought in from a file",
    "probation": "a copy",
    "candidate": "adopted from a retrain",
    "committed": "kept as it was committed",
    "copy": "a copy of the model that led",
}
"""What made a stored version, beside the kinds that experts have."""
GONE = "no longer kept"


@dataclass
class Node:
    """One version of the tree. `now` says what it is now (leads, committed, pinned, committed before), empty for the others."""

    id: str
    what: str
    parent: str | None = None
    now: str = ""
    weight: float | None = None
    at: int = 0
    position: int | None = None
    labels: int = 0
    why: str = ""
    author: str = ""
    stored: bool = False
    names: list[str] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    @property
    def word(self) -> str:
        """The state that its mark shows: what leads and what is committed stand out."""
        if not self.now:
            return "takes part" if self.weight is not None else "kept" if self.stored else GONE
        return self.now


def tree(versions: Sequence[Version], live: LiveModel | None) -> list[Node]:
    """The roots, oldest first; children are, too."""
    nodes: dict[str, Node] = {}
    for version in versions:
        if not version.id.startswith(NAMED):
            nodes[version.id] = _stored(version)
    for one in live.experts if live is not None else ():
        if one.kind != "base" and live is not None:
            _takes_part(nodes, one, live)
    for version in versions:
        if version.id.startswith(NAMED):
            origin = version.parent or ""
            if origin not in nodes:
                nodes[origin] = Node(origin, f"{GONE} itself, but under a name", position=version.position)
            nodes[origin].names.append(version.id.removeprefix(NAMED))
    for name in (live.committed, live.previous) if live is not None else ():
        if name:
            nodes.setdefault(name, Node(name, GONE))
            known = nodes[name].now
            said = "committed" if live is not None and name == live.committed else "committed before"
            nodes[name].now = known or said
    for node in [*nodes.values()]:
        if node.parent and node.parent not in nodes:
            nodes[node.parent] = Node(node.parent, GONE)
    return _rooted(nodes)


def _stored(version: Version) -> Node:
    author = "" if version.author == RULE else version.author
    return Node(
        version.id,
        MADE.get(version.kind, kind_in_words(version.kind)),
        version.parent,
        at=version.at,
        position=version.position,
        labels=version.labels,
        why=version.why,
        author=author,
        stored=True,
    )


def _takes_part(nodes: dict[str, Node], one: ExpertShown, live: LiveModel) -> None:
    node = nodes.setdefault(one.version, Node(one.version, "", one.parent))
    node.what, node.parent = kind_in_words(one.kind), one.parent or node.parent
    node.now, node.weight, node.labels = role(one, live), one.weight, one.learned
    node.at, node.position = one.born_at, one.born_position


def _rooted(nodes: dict[str, Node]) -> list[Node]:
    """Each node under its parent; one that descends from itself, which nobody could have made, is a root."""
    roots = []
    for one in sorted(nodes.values(), key=lambda one: (one.position or 0, one.id)):
        above, seen = one.parent, {one.id}
        while above and above in nodes and above not in seen:
            seen.add(above)
            above = nodes[above].parent
        if one.parent and one.parent in nodes and above != one.id:
            nodes[one.parent].children.append(one)
        else:
            roots.append(one)
    return roots


def put_in_place(state: PipelineState) -> list[Moment]:
    """What was committed when, and why: newest first, without what the log began with."""
    found = [one for one in happened(state) if one.mark == "committed" and one.position >= 0]
    return found[::-1]
