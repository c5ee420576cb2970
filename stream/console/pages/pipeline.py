"""One pipeline: is it running, is the model all right, what changed and when, what will it do next by itself.

Laws of this file:
- Pure. All charts have one time axis: the event time of the asked span, which ends at the newest event time known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.stream.console.charts import Axis, losses, moments, spans_of, timeline, weights
from penstock.stream.console.health import judged, open_findings, overall
from penstock.stream.console.next_steps import next_steps
from penstock.stream.console.page import Asked, Page
from penstock.stream.console.past import DAY_MS, Point
from penstock.stream.console.state import PipelineState
from penstock.stream.control.state import PolicyConfig
from penstock.stream.operate.expert_lines import kind_in_words, role
from penstock.stream.operate.status_lines import as_text

SPANS = {
    "1d": ("1 day", 1),
    "7d": ("7 days", 7),
    "30d": ("30 days", 30),
    "90d": ("90 days", 90),
    "all": ("all", 0),
}
USUAL_SPAN = "30d"
NEWEST = 12
HOURLY_DAYS = 7
"""A span of at most so many days is drawn by the hour: blocks of labels are about two a day where there are few."""


def shown(asked: Asked) -> Mapping[str, Any]:
    """Everything of the page."""
    state, definition = asked.state, asked.definition
    span = asked.query.get("span", USUAL_SPAN)
    points, hours = points_of(state, span)
    began = [one[0].since for one in (points, hours) if one]
    axis = Axis(min(began, default=0), state.event_at)
    bands = [one for one in spans_of(state) if one.until is None or one.until * 1000 >= axis.since]
    marks = moments(state, axis.since)
    return {
        "state": state,
        "said": overall(state),
        "status": state.status,
        "lines": as_text(state.status) if state.status else [],
        "judged": judged(state),
        "open": open_findings(state),
        "spans": SPANS,
        "span": span if span in SPANS else USUAL_SPAN,
        "charts": {
            "losses": losses(points, hours, bands, axis),
            "weights": weights(points, bands, axis),
            "timeline": timeline(state, bands, axis),
        },
        "steps": next_steps(state, definition),
        "config": PolicyConfig.of(definition) if definition else None,
        "models": models_of(state),
        "newest": marks[::-1][:NEWEST],
        "changes": [one for one in reversed(state.changes) if one.what in ("commit", "lead", "deploy")][
            :NEWEST
        ],
        "deployed": definition.digest if definition else "",
        "runs": state.last.recipe if state.last else state.live.recipe if state.live else "",
    }


class Models(NamedTuple):
    """Who predicts: a row each of (version, weight, role, kind, loss), as of a position and event time, and who said so."""

    rows: list[tuple[str, float, str, str, float | None]]
    at: int
    position: int
    said: str


def models_of(state: PipelineState) -> Models | None:
    """The models that predict together, the heaviest first: by the newest block, or by what learn said where that is newer."""
    live = state.live
    block = state.blocks[-1] if state.blocks else None
    if block is not None and (live is None or block.position >= live.position):
        rows = []
        for one in block.experts:
            now = [
                what
                for what, version in (("leads", block.leader), ("committed", block.committed))
                if version == one.version
            ]
            rows.append((one.version, one.weight, ", ".join(now), kind_in_words(one.kind), one.loss))
        said = f"losses over the {block.judged:,} labels of the newest block"
        return Models(sorted(rows, key=lambda row: -row[1]), block.at, block.position, said)
    if live is None or not live.experts:
        return None
    known = [
        (one.version, one.weight, role(one, live), kind_in_words(one.kind), one.loss) for one in live.experts
    ]
    return Models(
        sorted(known, key=lambda row: -row[1]), live.at, live.position, "losses since each takes part"
    )


def points_of(state: PipelineState, span: str) -> tuple[list[Point], list[Point]]:
    """The blocks or days of a span that ends with the newest, and its hours where it is short."""
    days = SPANS.get(span, SPANS[USUAL_SPAN])[1]
    past = state.past
    since = state.event_at - days * DAY_MS if days else 0
    return past.since(since), past.hours_since(since) if 0 < days <= HOURLY_DAYS else []


PAGE = Page("pipeline", "Pipeline", "/pipelines/{pipeline}", shown, order=10)
