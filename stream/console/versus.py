"""Losses of models on the same labels, from the blocks of the history: all of them side by side, and two against each other.

Laws of this file:
- Pure. A block counts for those alone that were judged on every label of it; two are compared on the blocks that count for both.
- A difference is that of means of whole blocks, in the order of the log; how sure it is, is `monitors.losses.comparison`'s.
- Losses are clipped as the weights are charged, as in `penstock history`; `live` and `base` are the published prediction's and
  the base rate's over the same labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from penstock.monitors.losses.comparison import LEAST_BLOCKS, Compared, compare_blocks
from penstock.stream.console.page import Chart, Series
from penstock.stream.console.words import nats, position, short, version
from penstock.stream.history_record import HistoryRecord
from penstock.stream.operate.expert_lines import kind_in_words
from penstock.stream.operate.verdicts import e_value

LIVE, BASE = "live", "base"
MOST_ROWS = 60


class Mean(NamedTuple):
    """A model's mean loss over the labels of some blocks, and what the live prediction and the base rate lost on the same."""

    version: str
    kind: str
    labels: int
    loss: float
    live: float
    base: float
    blocks: int


class Versus(NamedTuple):
    """Two models on the same labels: mean losses, the first's less the second's, and how sure that is."""

    first: str
    second: str
    labels: int
    losses: tuple[float, float]
    compared: Compared
    since: int
    until: int
    positions: tuple[int, int]

    @property
    def verdict(self) -> str:
        """In a sentence."""
        found = self.compared
        less = version(self.first if found.difference < 0 else self.second)
        more = version(self.second if found.difference < 0 else self.first)
        said = f"On the same {self.labels:,} labels {less} lost {abs(found.difference):.4f} nats a label less than {more}"
        if found.low is None or found.high is None:
            return f"{said}. These are too few blocks of labels to say how sure that is: an interval takes {LEAST_BLOCKS}."
        low, high = sorted((abs(found.low), abs(found.high))) if found.low * found.high > 0 else (0.0, 0.0)
        if low:
            said += f" (95 % interval {low:.4f} to {high:.4f})"
        else:
            said += f" (95 % interval of the difference {found.low:+.4f} to {found.high:+.4f})"
        if not found.enough:
            return f"{said}. Blocks hang together for too long for a single answer."
        if found.clear:
            return f"{said}: that is beyond chance."
        if low:
            return f"{said}. The evidence for that is short of what one acts on: an e-value of {e_value(found.log10_e)}, not 20."
        return f"{said}: that can be chance."


def _loss_of(block: HistoryRecord, name: str) -> float | None:
    """What a model lost by each label of a block; None where it was not judged on all of them."""
    if name == LIVE:
        return block.loss
    if name == BASE:
        return block.base_loss
    for one in block.experts:
        if one.version == name:
            return one.loss if one.judged == block.counts.joined else None
    return None


def means(blocks: Sequence[HistoryRecord]) -> list[Mean]:
    """Each model's mean over the blocks that count for it, with the live prediction's and the base rate's on the same labels."""
    kinds = {one.version: one.kind for block in blocks for one in block.experts if one.kind != BASE}
    found = []
    for name, kind in kinds.items():
        rows = [
            (block.counts.joined, loss, block.loss, block.base_loss)
            for block in blocks
            if (loss := _loss_of(block, name)) is not None
            and block.loss is not None
            and block.base_loss is not None
        ]
        labels = sum(row[0] for row in rows)
        if labels:
            each = [sum(row[0] * row[place] for row in rows) / labels for place in (1, 2, 3)]
            found.append(Mean(name, kind, labels, each[0], each[1], each[2], len(rows)))
    return found


def paired(
    blocks: Sequence[HistoryRecord], first: str, second: str
) -> Iterator[tuple[HistoryRecord, float, float]]:
    """The blocks that count for both, with the loss of each."""
    for block in blocks:
        one, other = _loss_of(block, first), _loss_of(block, second)
        if one is not None and other is not None and block.counts.joined:
            yield block, one, other


def versus(blocks: Sequence[HistoryRecord], first: str, second: str) -> Versus | None:
    """The two on the labels that both were judged on; None where there are none."""
    rows = list(paired(blocks, first, second))
    if not rows:
        return None
    sizes = [block.counts.joined for block, *_ in rows]
    labels = sum(sizes)
    losses = (
        sum(n * one for n, (_, one, _) in zip(sizes, rows, strict=True)) / labels,
        sum(n * other for n, (_, _, other) in zip(sizes, rows, strict=True)) / labels,
    )
    usual = int(np.median(sizes))
    # Means of blocks stand for as many labels each; short ones, such as the first after a restart, are left out of the interval.
    whole = [row[1] - row[2] for n, row in zip(sizes, rows, strict=True) if 2 * n >= usual]
    judged = compare_blocks(np.array(whole, np.float64), usual)
    difference = losses[0] - losses[1]
    moved = difference - judged.difference
    compared = Compared(
        labels,
        difference,
        None if judged.low is None else judged.low + moved,
        None if judged.high is None else judged.high + moved,
        judged.log10_e,
        judged.block_labels,
        judged.correlation,
    )
    start, end = rows[0][0], rows[-1][0]
    return Versus(
        first,
        second,
        labels,
        losses,
        compared,
        start.since,
        end.at,
        (start.since_position, end.position),
    )


def chart(blocks: Sequence[HistoryRecord], first: str, second: str) -> Chart:
    """Both models' losses, block by block, and the table of them."""
    rows = list(paired(blocks, first, second))
    names = (version(first), version(second))
    series = [
        Series(names[0], [one for _, one, _ in rows], "live"),
        Series(names[1], [other for _, _, other in rows], "first", "dashed"),
    ]
    table = [
        (
            short(block.at),
            nats(one),
            nats(other),
            f"{one - other:+.4f}",
            f"{block.counts.joined:,}",
            position(block.position),
        )
        for block, one, other in rows[::-1][:MOST_ROWS]
    ]
    headings = ("until (event time, UTC)", *names, "difference", "labels", "at position")
    ends = (rows[0][0].since / 1000, rows[-1][0].at / 1000) if rows else (None, None)
    return Chart(
        "versus", f"Loss of {names[0]} and {names[1]} on the same labels, in nats a label (less is better)", "nats",
        [block.at / 1000 for block, *_ in rows], series, headings=headings, rows=table, since=ends[0], until=ends[1],
    )  # fmt: skip


def choices(blocks: Sequence[HistoryRecord]) -> list[tuple[str, str]]:
    """What can be compared: the live prediction, the base rate, and every model of these blocks, newest first."""
    kinds: dict[str, str] = {}
    for block in reversed(blocks):
        for one in block.experts:
            if one.kind != BASE:
                kinds.setdefault(one.version, one.kind)
    found = [(LIVE, "the live prediction"), (BASE, "the base rate")]
    return found + [(name, f"{version(name)}, {kind_in_words(kind)}") for name, kind in kinds.items()]
