"""Who asked for what, what was decided and why, newest first.

Laws of this file:
- Pure. Filters are words of the address, so that what is shown can be sent to somebody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stream.console.audit import OUTCOMES, entries, in_words, suppresses
from penstock.stream.console.next_steps import next_steps
from penstock.stream.console.page import Asked, Page
from penstock.stream.control.state import PolicyConfig

A_PAGE = 100
FILTERS = ("verb", "who", "outcome", "episode")


def shown(asked: Asked) -> Mapping[str, Any]:
    """The entries that fit what is asked for."""
    state = asked.state
    every = entries(state)
    wanted = {name: asked.query.get(name, "") for name in FILTERS}
    fits = [
        one
        for one in every
        if all(not value or getattr(one, name) == value for name, value in wanted.items())
    ]
    config = PolicyConfig.of(asked.definition) if asked.definition is not None else None
    begin = _whole(asked.query.get("from", ""))
    return {
        "state": state,
        "rows": [
            {"one": one, "carried": in_words(one), "held": suppresses(one, state, config)}
            for one in fits[begin : begin + A_PAGE]
        ],
        "fits": len(fits),
        "all": len(every),
        "begin": begin,
        "older": begin + A_PAGE if len(fits) > begin + A_PAGE else None,
        "wanted": wanted,
        "verbs": sorted({one.verb for one in every}),
        "people": sorted({one.who for one in every}),
        "outcomes": [one for one in OUTCOMES if any(each.outcome == one for each in every)],
        "held_now": [
            step for step in next_steps(state, asked.definition) if _holds_back(step.who, step.when)
        ],
    }


def _holds_back(who: str, when: str) -> bool:
    return who == "not before" or when.startswith("until")


def _whole(text: str) -> int:
    return min(int(text), 1_000_000) if text.isascii() and text.isdecimal() and len(text) < 8 else 0


PAGE = Page("audit", "Audit", "/pipelines/{pipeline}/audit", shown, order=51)
