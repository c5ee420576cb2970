"""Everything that was found, one row for each episode: the open ones first, then the newest.

Laws of this file:
- Pure. What an episode cost and was about is said as `penstock report` says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stream.console.episodes import Episode, episodes, since_position
from penstock.stream.console.evidence import findings
from penstock.stream.console.page import Asked, Page
from penstock.stream.operate.reporting.incidents import causes, length, segment

MOST_ROWS = 300


def shown(asked: Asked) -> Mapping[str, Any]:
    """The rows."""
    state = asked.state
    every = episodes(state)
    return {
        "state": state,
        "rows": [row(one, state.event_at) for one in every[:MOST_ROWS]],
        "all": len(every),
        "open": sum(one.open for one in every),
        "suspected": sum(one.state == "suspected" for one in every),
    }


def row(one: Episode, now: int) -> dict[str, Any]:
    """One episode in words."""
    incident = one.incident
    found = [f"{each.kind} of {each.subject}" for each in findings(one.events)]
    over = None if incident is None else incident.over
    return {
        "id": one.id,
        "what": f"{one.first.data.kind} of {one.first.subject}",
        "state": one.state,
        "severity": one.severity,
        "at": one.at,
        "position": since_position(incident) if incident else one.first.data.since.get("position"),
        "late": None if incident is None else length(incident.found - incident.since),
        "lasted": None if incident is None else length((now if over is None else over) - incident.since),
        "over": over,
        "causes": ("; ".join(causes(incident)) or one.first.data.reason)
        if incident
        else one.first.data.reason,
        "segment": "" if incident is None else segment(incident),
        "cost": one.cost,
        "more": found[1:],
    }


PAGE = Page("episodes", "Episodes", "/pipelines/{pipeline}/episodes", shown, order=21)
