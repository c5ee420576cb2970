"""Dead letters: how many of which kind, the newest, one in full, and sending them back once what was wrong is mended.

Laws of this file:
- `shown` is pure. What a record holds is shown as text and is never anything else.
- Looking sends nothing: what would be sent is a preview, and its confirmation a post by an operator.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from penstock.stream.console.page import Asked, Page
from penstock.stream.console.reading import letters
from penstock.stream.console.reading.republish import number, republish
from penstock.stream.console.reading.servers import servers_of
from penstock.stream.console.shown_bytes import shown as bytes_shown
from penstock.stream.log.protocol import LogError
from penstock.stream.operate.dead_letters import Letter

KEPT_S = 5.0
FIRST_CHARACTERS = 160
MOST_WORDS = 200


def which(asked: Asked) -> letters.Asked:
    """The letters that the query names; what is no offset names none."""
    query = asked.query
    since, until = number(query.get("since", "")), number(query.get("until", ""))
    return letters.Asked(query.get("reason", "").strip()[:MOST_WORDS], since or 0, until)


def reads(asked: Asked, sources: Any) -> dict[str, Any]:
    """What the topic holds of what was asked for; `failed` says why nothing."""
    servers, name, meant = servers_of(sources), asked.state.name, which(asked)
    offset, sends = number(asked.query.get("offset", "")), asked.query.get("republish") == "yes"
    found: dict[str, Any] = {"looked": None, "one": None, "plan": None, "failed": ""}
    found["sent"] = servers.sent.get(asked.query.get("sent", ""))
    try:
        if offset is not None:
            found["one"] = servers.kept(
                ("letter", name, offset), KEPT_S, lambda: letters.one(servers, name, offset)
            )
        elif sends:
            found["plan"] = servers.kept(
                ("plan", name, meant), KEPT_S, lambda: letters.plan(servers, name, meant)
            )
        else:
            found["looked"] = servers.kept(
                ("letters", name, meant), KEPT_S, lambda: letters.look(servers, name, meant)
            )
    except LogError as error:
        found["failed"] = str(error)
    return found


def shown(asked: Asked) -> Mapping[str, Any]:
    """Everything of the page."""
    read, meant = asked.read, which(asked)
    plan = read["plan"]
    if plan is not None and meant.until is None:
        meant = meant._replace(until=plan.end)
    one = read["one"]
    return {
        "state": asked.state,
        "reason": meant.reason,
        "since": meant.since,
        "until": meant.until,
        "failed_to_read": read["failed"],
        "looked": read["looked"],
        "newest": [row(letter) for letter in read["looked"].newest] if read["looked"] else [],
        "offset": asked.query.get("offset", ""),
        "one": None if one is None else in_full(one),
        "plan": plan,
        "sent": read["sent"],
        "asked_for_sent": "sent" in asked.query,
        "once": asked.once,
        "may": asked.asks and asked.person.may("operator"),
        "listing": f"penstock dead-letters {asked.pipeline}" + _options(meant),
        "command": f"penstock dead-letters {asked.pipeline} --republish" + _options(meant),
        "again": urlencode({"republish": "yes", **_query(meant)}),
    }


def _options(meant: letters.Asked) -> str:
    """The command's options."""
    said = f" --reason {shlex.quote(meant.reason)}" if meant.reason else ""
    said += f" --since {meant.since}" if meant.since else ""
    return said + (f" --until {meant.until}" if meant.until is not None else "")


def _query(meant: letters.Asked) -> dict[str, Any]:
    return {name: value for name, value in meant._asdict().items() if value not in ("", 0, None)}


def place(letter: Letter) -> str:
    """Where a record lay, as the command says it."""
    return f"{letter.topic}[{letter.partition}]@{letter.of}" if letter.topic else "from an unknown place"


def row(letter: Letter) -> dict[str, Any]:
    """A letter of the list."""
    return {
        "offset": letter.offset,
        "at": letter.timestamp_ms,
        "place": place(letter),
        "reason": letter.reason,
        "sendable": letter.sendable,
        "first": bytes_shown(letter.value, FIRST_CHARACTERS, 16),
    }


def in_full(letter: Letter) -> dict[str, Any]:
    """One letter with all that it has."""
    return {
        **row(letter),
        "id": letter.id,
        "key": bytes_shown(letter.key),
        "value": bytes_shown(letter.value),
        "headers": [(name, bytes_shown(value, 1_000, 256)) for name, value in letter.headers],
        "whole": letter.whole,
        "again": urlencode({"republish": "yes", "since": letter.offset, "until": letter.offset + 1}),
    }


PAGE = Page(
    "dead_letters",
    "Dead letters",
    "/pipelines/{pipeline}/dead-letters",
    shown,
    order=43,
    reads=reads,
    does=republish,
)
