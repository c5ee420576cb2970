"""Every pipeline in a row: running and current? model all right? anything open?

Laws of this file:
- Pure. What is wrong comes first, in the words of `penstock status`; rows that are wrong stand above those that are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stream.console.health import judged, lag, open_findings, overall
from penstock.stream.console.next_steps import next_steps
from penstock.stream.console.page import Asked, Page
from penstock.stream.console.state import PipelineState
from penstock.stream.console.words import WORDS
from penstock.stream.operate.expert_lines import who_predicts

SOON = 1
ORDER = {"critical": 0, "warning": 1, "unknown": 2, "note": 3, "well": 4}


def shown(asked: Asked) -> Mapping[str, Any]:
    """The rows, and how many pipelines are as they should be."""
    rows = [_row(state, asked) for state in asked.states.pipelines.values()]
    rows.sort(key=lambda row: (ORDER.get(row["said"].tone, 2), row["name"]))
    return {
        "rows": rows,
        "well": sum(row["said"] == WORDS["well"] for row in rows),
        "wrong": sum(row["said"] == WORDS["wrong"] for row in rows),
    }


def _row(state: PipelineState, asked: Asked) -> dict[str, Any]:
    status = state.status
    roles = status.roles if status else {}
    coming = [step for step in next_steps(state, asked.definitions.get(state.name)) if step.who == "a person"]
    return {
        "name": state.name,
        "said": overall(state),
        "wrong": status.wrong if status else [state.look_failed] if state.look_failed else [],
        "roles": [(name, bool(role.members)) for name, role in roles.items()],
        "event_age_s": status.event_age_s if status else None,
        "tick_age_s": status.tick_age_s if status else None,
        "lag": lag(status),
        "scores": status.scores if status else None,
        "judged": judged(state),
        "open": open_findings(state),
        "waits": len(status.waiting) if status else 0,
        "asks": coming[:SOON],
        "live": state.live,
        "who": who_predicts(state.live) if state.live else "",
        "position": state.position,
        "looked_ms": state.looked_ms,
    }


PAGE = Page("overview", "Overview", "/", shown, order=0)
