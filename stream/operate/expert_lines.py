"""The models that make the live prediction, in words and tables for people: who leads, who is committed, who else counts.

Laws of this file:
- Pure: what learn said in, text out. A message of a former version, which named no experts, gives no text about them.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.stream.learn.events import KINDS
from penstock.stream.messages import ExpertShown, LiveModel, rfc3339

SHOWN_WEIGHT = 0.01
"""An expert with less of the weight is left out of a line; tables show all."""
HEADINGS = ("version", "what it is", "now", "weight", "born", "labels", "judged", "loss", "live's")
RIGHT = (3, 5, 6, 7, 8)


def kind_in_words(kind: str) -> str:
    """What an expert of this kind is."""
    return KINDS.get(kind, kind)


def who_predicts(live: LiveModel) -> str:
    """Who leads with how much of the weight, or predicts alone and why, and which one is committed; empty if it was not said."""
    if not live.experts:
        return ""
    what = next((f" ({kind_in_words(one.kind)})" for one in live.experts if one.version == live.version), "")
    if not live.alone:
        other = f"{live.committed} is" if live.committed != live.version else "and is"
        return f"{live.version}{what} leads with {live.weight:.0%} of the weight, {other} committed"
    why = "pinned: `penstock resume` ends that" if live.pinned else "as the definition asks for approval"
    return f"{live.version}{what} predicts alone, {why}; labels give it {live.weight:.0%} of the weight"


def others(live: LiveModel) -> str:
    """Everybody else with at least `SHOWN_WEIGHT` of the weight, the heaviest first; empty if there is nobody."""
    found = sorted(live.experts, key=lambda one: -one.weight)
    return ", ".join(
        f"{one.version} {one.weight:.0%}"
        for one in found
        if one.version != live.version and one.weight >= SHOWN_WEIGHT
    )


def role(one: ExpertShown, live: LiveModel) -> str:
    """What an expert is now: it leads, predicts alone, is committed or was before, or none of them."""
    roles = []
    if one.version == live.version:
        roles.append("alone" if live.alone else "leads")
    if one.version == live.committed:
        roles.append("pinned" if live.pinned else "committed")
    if one.version == live.previous:
        roles.append("committed before")
    return ", ".join(roles)


def rows(live: LiveModel) -> list[Sequence[str]]:
    """A row for each expert in the order of `HEADINGS`, the heaviest first; none if none was named.

    Losses are means in nats over the labels judged since the expert takes part: its own, and the live prediction's over the same.
    """
    return [
        (
            one.version,
            kind_in_words(one.kind),
            role(one, live),
            f"{one.weight:.1%}",
            rfc3339(one.born_at)[:16] if one.born_at else "-",
            f"{one.learned:,}" if one.learned else "-",
            f"{one.judged:,}" if one.judged else "-",
            "-" if one.loss is None else f"{one.loss:.4f}",
            "-" if one.live_loss is None else f"{one.live_loss:.4f}",
        )
        for one in sorted(live.experts, key=lambda one: -one.weight)
    ]


def table(live: LiveModel) -> list[str]:
    """The rows as lines under a line of headings; none if no expert was named."""
    return columns([HEADINGS, *rows(live)], RIGHT) if live.experts else []


def columns(rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Rows of one length as lines of columns; those numbered in `right` end at one place."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
