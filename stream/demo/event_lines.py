"""Control messages in one line each, for people who follow along.

Laws of this file:
- A line says when in event time, how bad, what, and what happens; notes about mere suspicion are left to the topics.
"""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.stream.messages import ControlEvent, Decision, LiveModel
from penstock.stream.process.terminal import printable


def story_line(message: ControlEvent | Decision | LiveModel) -> str | None:
    """One line with nothing in it that a terminal would obey, or None for what is no news to a person."""
    line = _line(message)
    return None if line is None else printable(line)


def _line(message: ControlEvent | Decision | LiveModel) -> str | None:
    if isinstance(message, ControlEvent):
        return _event_line(message)
    if isinstance(message, Decision):
        return f"{'decided':<19} {message.verb} {message.verdict}: {message.why} ({message.by})"
    held = ", learning is held" if message.held else ""
    return f"{_moment(message.at)}  live is {message.version}: {message.why}{held}"


def _event_line(event: ControlEvent) -> str | None:
    data = event.data
    if data.state == "suspected":
        return None
    since = data.since.get("at")
    target = f" -> {data.target_version}" if data.target_version else ""
    verb = "" if data.suggested_action == "none" else f"  {data.suggested_action.upper()}{target}"
    onset = f", since {_moment(since)}" if since is not None and data.state == "firing" else ""
    mark = {"critical": "!!", "warning": "! ", "info": "  "}[data.severity]
    return f"{_moment(data.detected_at.get('at', 0))}  {mark} {data.reason}{onset}{verb}"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
