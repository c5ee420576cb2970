"""Control events → one row per episode, and the lines that tell it.

Laws of this file:
- What was only suspected is no episode. An episode is over once everything told in it is; its summary comes a cooldown later.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from penstock.stream.messages import ControlEvent


def day(at_ms: int | None) -> str:
    """Event time as a person reads it, in UTC."""
    return "-" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%d %b %H:%M")


def episodes(events: Sequence[ControlEvent]) -> list[dict[str, Any]]:
    """One row per episode that fired: what, since when, when found and resolved, and what was asked for."""
    found: dict[str, dict[str, Any]] = {}
    firing: set[tuple[str, str, str]] = set()
    for event in events:
        data = event.data
        finding = (data.episode, data.kind, event.subject)
        row = found.setdefault(
            data.episode,
            {
                "episode": data.episode,
                "kind": data.kind,
                "subject": event.subject,
                "since": data.since,
                "fired": None,
                "resolved": None,
                "effect": None,
                "statistic": None,
                "threshold": None,
                "actions": [],
                "causes": [],
                "summary": None,
            },
        )
        if data.state == "firing" and row["fired"] is None:
            row.update(
                fired=data.detected_at,
                since=data.since,
                effect=data.effect,
                statistic=data.statistic,
                threshold=data.threshold,
            )
        if data.state == "firing":
            firing.add(finding)
            row["resolved"] = None
        elif data.state == "resolved":
            firing.discard(finding)
            if all(episode != data.episode for episode, _, _ in firing):
                row["resolved"] = data.detected_at
        if data.summary is not None:
            row["summary"] = {"reason": data.reason, **msgspec.structs.asdict(data.summary)}
            row["summary"]["done"] = [msgspec.structs.asdict(deed) for deed in data.summary.done]
        row["causes"] = list(dict.fromkeys([*row["causes"], *data.causes]))
        if data.suggested_action != "none":
            row["actions"].append(
                data.suggested_action + (f" to {data.target_version}" if data.target_version else "")
            )
    return [row for row in found.values() if row["fired"] is not None]


def episode_lines(row: dict[str, Any]) -> list[str]:
    """The episode, and where it is over what it was."""
    summary = row["summary"]
    return [_episode_line(row), *([] if summary is None else [f"           {summary['reason']}"])]


def _episode_line(row: dict[str, Any]) -> str:
    resolved = f"over {day(row['resolved']['at'])}" if row["resolved"] else "still open"
    effect = "" if row["effect"] is None else f"  effect {row['effect']:+.3f}"
    actions = f"  -> {', '.join(dict.fromkeys(row['actions']))}" if row["actions"] else ""
    return (
        f"  {row['kind']:<8} {row['subject']:<22} since {day(row['since']['at'])}  found {day(row['fired']['at'])}  "
        f"{resolved}{effect}{actions}"
    )
