"""The stored versions of a pipeline, as data and as tables for people.

Laws of this file:
- Pure. `live` is the public document of what is live, or what `document` makes of the message that says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.stream.messages import LiveModel, rfc3339
from penstock.stream.models.version import ALIASES, CHAMPION, NAMED, PREVIOUS, Version
from penstock.stream.operate.expert_lines import columns

KINDS = {"probation": "copy", "retrained": "retrain", "candidate": "adopted"}
"""What made a stored version, where it is called otherwise than it was stored; former versions stored the first and the last."""
HEADINGS = (
    "", "version", "state", "kind", "labels", "loss", "base", "born", "position", "parent", "by", "why",
)  # fmt: skip
RIGHT = (4, 5, 6, 8)


def document(live: LiveModel | None) -> dict[str, Any]:
    """As much of the public document as tells what versions are now."""
    if live is None:
        return {}
    states = {one.version: one.kind for one in live.experts if one.kind != "base"}
    if live.previous:
        states.setdefault(live.previous, PREVIOUS)
    states[live.committed] = "committed"
    states[live.version] = "live"
    return {"version": live.version, "committed": live.committed, "previous": live.previous, "states": states}


def known_as(live: dict[str, Any], version: Version, versions: Sequence[Version]) -> list[str]:
    """The aliases and names of a version: `champion` and `previous` as `live` says, names by their stored copies."""
    ids = {CHAMPION: live.get("committed"), PREVIOUS: live.get("previous")}
    names = [
        one.id.removeprefix(NAMED)
        for one in versions
        if one.id.startswith(NAMED) and (one.parent, one.digest) == (version.id, version.digest)
    ]
    return [alias for alias in ALIASES if ids[alias] == version.id] + sorted(names)


def told(version: Version, live: dict[str, Any], versions: Sequence[Version]) -> dict[str, Any]:
    """What is known of a version, with its state now and the labels it learned; an adopted one's are its retrain's, at least."""
    labels = version.labels
    if not labels:
        labels = next((one.labels for one in versions if one.id == version.parent), 0)
    state = live.get("states", {}).get(version.id)
    if state is None:
        state = "live" if version.id == live.get("version") else "kept"
    names = known_as(live, version, versions)
    return {**msgspec.to_builtins(version), "labels": labels, "state": state, "known_as": names}


def rows(versions: Sequence[Version], live: dict[str, Any]) -> list[Sequence[str]]:
    """A row for each version, oldest first, in the order of `HEADINGS`."""
    found: list[Sequence[str]] = []
    for version in versions:
        known = told(version, live, versions)
        measured = version.measured
        found.append(
            (
                "*" if known["state"] == "live" else "",
                version.id,
                ", ".join(dict.fromkeys([known["state"], *known["known_as"]])),
                KINDS.get(version.kind, version.kind),
                f"{known['labels']:,}" if known["labels"] else "-",
                "-" if measured is None else f"{measured.loss:.4f}",
                "-" if measured is None else f"{measured.base_loss:.4f}",
                rfc3339(version.at)[:16] if version.at else "-",
                f"{version.position:,}",
                version.parent or "-",
                version.author or "-",
                version.why or "-",
            )
        )
    return found


def table(versions: Sequence[Version], live: dict[str, Any]) -> list[str]:
    """A line for each version under a line of headings, oldest first; none without versions."""
    return columns([HEADINGS, *rows(versions, live)], RIGHT) if versions else []
