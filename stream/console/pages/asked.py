"""One request: that it was asked, by whom and why, what was decided, and that it was carried out.

Laws of this file:
- Pure. The page is there as soon as the request is sent, before the topic has brought it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stream.console.act.answer import course
from penstock.stream.console.page import Asked, NotFound, Page
from penstock.stream.console.words import Word
from penstock.stream.messages import MAX_NAME_CHARACTERS
from penstock.stream.operate.asking import command_line

HOW = {
    "unknown": Word("not known yet", "○", "unknown"),
    "asked": Word("asked, not decided yet", "◷", "note"),
    "decided": Word("accepted, not carried out yet", "◷", "note"),
    "waits for approval": Word("waits for a person", "▲", "warning"),
    "refused": Word("refused", "✕", "warning"),
    "carried out": Word("carried out", "●", "well"),
}


def shown(asked: Asked) -> Mapping[str, Any]:
    """How far it is."""
    state, request_id = asked.state, asked.path["request"]
    if len(request_id) > MAX_NAME_CHARACTERS:
        raise NotFound("no request has so long an id")
    found = course(state, request_id)
    return {
        "state": state,
        "id": request_id,
        "found": found,
        "how": HOW[found.how],
        "command": command_line(found.request) if found.request is not None else "",
    }


PAGE = Page("asked", "Asked", "/pipelines/{pipeline}/asked/{request}", shown)
