"""What people may ask of a pipeline: each act, whether it can be done now, who may, and the command line that does the same.

Laws of this file:
- Pure. Who may not ask sees the same page, with the commands, and is told who may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stream.console.act.acts import ACTS, cannot, role_for, waiting
from penstock.stream.console.act.asked import command_of, example, proposed
from penstock.stream.console.page import Asked, Page
from penstock.stream.operate.expert_lines import who_predicts


def shown(asked: Asked) -> Mapping[str, Any]:
    """The acts, and what waits."""
    state = asked.state
    acts = [
        {
            "act": act,
            "cannot": cannot(act, state),
            "role": role_for(act, state),
            "may": asked.asks and asked.person.may(role_for(act, state)),
            "command": example(act, state),
        }
        for act in ACTS.values()
    ]
    return {
        "state": state,
        "acts": acts,
        "asks": asked.asks,
        "person": asked.person,
        "who": who_predicts(state.live) if state.live else "",
        "waits": [
            {"one": one, "command": command_of(proposed(one, state.name), state.name)}
            for one in waiting(state)
        ],
    }


PAGE = Page("act", "Act", "/pipelines/{pipeline}/act", shown, order=60)
