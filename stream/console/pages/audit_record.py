"""One request or proposal, for good: who asked, on what evidence, what was decided and why, what it holds back.

Laws of this file:
- Pure. What the command line says of its records stands below, in the words of `penstock watch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.stream.console.audit import chosen, in_words, suppresses
from penstock.stream.console.evidence import findings
from penstock.stream.console.page import Asked, Page
from penstock.stream.control.state import PolicyConfig
from penstock.stream.messages import ControlEvent
from penstock.stream.operate.control_lines import tell


def shown(asked: Asked) -> Mapping[str, Any]:
    """Everything that is known of it."""
    state = asked.state
    one = chosen(state, asked.path["record"])
    config = PolicyConfig.of(asked.definition) if asked.definition is not None else None
    event = one.asked if isinstance(one.asked, ControlEvent) else None
    command = one.decision.command if one.decision is not None else None
    return {
        "state": state,
        "one": one,
        "event": event,
        "finding": findings([event])[0] if event is not None else None,
        "carried": in_words(one),
        "held": suppresses(one, state, config),
        "sent": [
            (name.replace("_", " "), str(value))
            for name, value in (msgspec.to_builtins(command).items() if command is not None else ())
            if value not in (None, "", False, 0)
        ],
        "lines": [line for told in one.told for line in tell(told.message, told.wall_ms)],
        "records": [(told.topic, told.offset) for told in one.told],
    }


PAGE = Page("audit_record", "Record", "/pipelines/{pipeline}/audit/{record:path}", shown)
