"""Sends dead letters back where they came from, once a person has seen how many and has confirmed it.

Laws of this file:
- What is confirmed is judged again: who may, and whether there are as many letters as the preview said.
- What was sent is said, and what is not known to be sent is said to be that.
"""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import quote

from penstock.stream.console.page import Asked, Refused
from penstock.stream.console.posts import CannotAsk
from penstock.stream.console.reading import letters
from penstock.stream.console.reading.servers import servers_of
from penstock.stream.log.protocol import LogError

logger = logging.getLogger("penstock.console")

ONCE = re.compile(r"[0-9a-f]{32}")
MOST_REMEMBERED = 1_000
AGAIN = "Look at what would be sent again, and confirm that."


def number(text: str) -> int | None:
    """An offset as a form or an address says it; None for what is none."""
    text = text.strip().removeprefix("@").replace(",", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def republish(asked: Asked, sources: Any) -> str:
    """Send what the form names; the address that says how many were. Raises `Refused` and `CannotAsk`."""
    servers, form, name = servers_of(sources), asked.query, asked.state.name
    if not asked.person.may("operator"):
        who = (
            f"{asked.person.name}, {asked.person.role},"
            if asked.person.name
            else "Somebody who is not logged in"
        )
        raise Refused(403, f"{who} may not send records back: it takes an operator or an approver.")
    since, until, count = (number(form.get(field, "")) for field in ("since", "until", "count"))
    once = form.get("once", "")
    if since is None or until is None or count is None or not ONCE.fullmatch(once):
        raise Refused(400, f"This form is not complete. {AGAIN}")
    which = letters.Asked(form.get("reason", ""), since, until)
    try:
        found = letters.plan(servers, name, which)
        if not found.whole or found.letters != count:
            there = f"{found.letters:,}" if found.whole else f"more than {found.letters:,}"
            raise Refused(409, f"There are {there} such records now, and not {count:,}. {AGAIN}")
        sent = servers.send_back(letters.to_send(servers.log, name, servers.prefix, which, found.end))
    except (LogError, TimeoutError) as error:
        raise CannotAsk(
            f"Sending records back ended half way: {error}. Some may have been sent; the topic shows which are there again."
        ) from error
    logger.info(
        "%s sent %d dead letters of %s back: offsets %d to %d, reason %r",
        asked.person.name, sent, name, found.first, found.end - 1, which.reason,
    )  # fmt: skip
    servers.sent[once] = sent, found.end
    while len(servers.sent) > MOST_REMEMBERED:
        servers.sent.popitem(last=False)
    return f"/pipelines/{quote(name)}/dead-letters?sent={once}"
