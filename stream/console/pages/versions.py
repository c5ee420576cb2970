"""Versions: how they descend from one another, what they lose on the same labels, two of them compared, and what to type.

Laws of this file:
- `shown` is pure; stored versions are read before, by `reading.versions`. Without them the page shows what the topics say.
- The tables are `penstock models`' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.stream.console.lineage import put_in_place, tree
from penstock.stream.console.page import Asked, Page
from penstock.stream.console.past import DAY_MS
from penstock.stream.console.reading.versions import Stored, stored
from penstock.stream.console.state import PipelineState
from penstock.stream.console.versus import BASE, LIVE, chart, choices, means, versus
from penstock.stream.console.words import short
from penstock.stream.history_record import HistoryRecord
from penstock.stream.messages import LiveModel
from penstock.stream.operate import expert_lines, version_lines

SPANS = {
    "7d": ("7 days", 7),
    "30d": ("30 days", 30),
    "90d": ("90 days", 90),
    "all": ("all that is kept", 0),
}
USUAL_SPAN = "30d"
NEWEST = 20
MOST_MEANS = 40


def shown(asked: Asked) -> Mapping[str, Any]:
    """Everything of the page."""
    state = asked.state
    live = state.live
    read = asked.read if isinstance(asked.read, Stored) else Stored(why="the store is not read here")
    span = asked.query.get("span", USUAL_SPAN)
    blocks = blocks_of(state, span)
    every = choices(blocks)
    first, second = _chosen(asked, live, every)
    found = versus(blocks, first, second)
    document = version_lines.document(live)
    compared = sorted(
        means(blocks), key=lambda one: (not _takes_part(one.version, live), -one.labels, one.version)
    )
    return {
        "state": state,
        "who": expert_lines.who_predicts(live) if live else "",
        "roots": tree(read.versions, live),
        "why_not": read.why,
        "experts": expert_lines.rows(live) if live else [],
        "expert_headings": expert_lines.HEADINGS,
        "stored": version_lines.rows(read.versions, document),
        "stored_headings": version_lines.HEADINGS,
        "spans": SPANS,
        "span": span if span in SPANS else USUAL_SPAN,
        "labels": sum(block.counts.joined for block in blocks),
        "blocks": (blocks[0].since_position, blocks[-1].position) if blocks else (None, None),
        "means": [
            {
                **one._asdict(),
                "what": expert_lines.kind_in_words(one.kind),
                "now": _now(one.version, live),
            }
            for one in compared[:MOST_MEANS]
        ],
        "left": len(compared) - len(compared[:MOST_MEANS]),
        "choices": every,
        "a": first,
        "b": second,
        "versus": found,
        "charts": {"versus": chart(blocks, first, second)} if found else {},
        "places": [{**one._asdict(), "when": short(one.at)} for one in put_in_place(state)[:NEWEST]],
        "pinnable": [one.version for one in live.experts if one.kind != "base"] if live else [],
    }


def blocks_of(state: PipelineState, span: str) -> list[HistoryRecord]:
    """The blocks of labels of a span that ends with the newest one."""
    days = SPANS.get(span, SPANS[USUAL_SPAN])[1]
    blocks = [block for block in state.blocks if block.counts.joined]
    return [block for block in blocks if not days or block.at > state.event_at - days * DAY_MS]


def _chosen(asked: Asked, live: LiveModel | None, every: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The two to compare: those asked for that are there; else the committed one and the live prediction."""
    there = [name for name, _ in every]
    committed = live.committed if live is not None and live.committed in there else BASE
    first, second = asked.query.get("a", ""), asked.query.get("b", "")
    return first if first in there else committed, second if second in there else LIVE


def _takes_part(version: str, live: LiveModel | None) -> bool:
    return live is not None and any(one.version == version for one in live.experts)


def _now(version: str, live: LiveModel | None) -> str:
    found = next((one for one in live.experts if one.version == version), None) if live else None
    if found is None or live is None:
        return "no longer takes part"
    return expert_lines.role(found, live)


PAGE = Page("versions", "Versions", "/pipelines/{pipeline}/versions", shown, order=31, reads=stored)
