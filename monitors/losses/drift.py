"""Drift of the loss: has the live prediction lost its skill (harm), is the committed model worse than all together (lead)?

Laws of this file
- Per label only sums are kept; all statistics are done once per base block of labels.
- Losses are paired on the same labels, and every prediction was made at its sample; a base rate read at the
  label would leak.
- No threshold is tuned to a stream. A = blocks per year / false alarms allowed per year, blocks per year come
  from the stream as it is lately (`rate_of_labels`) unless configured, and the margin is a share of what the model is worth.
- The budget is false alarms per year: harm 0.5, lead 0.5. Harm has two witnesses on the same block differences: the e-detector
  is set to 0.4, and 0.1 is left to ADWIN, whose confidence is nominal and whose run length is measured (`adwin.DELTA`). ADWIN
  names itself `adwin`; only a rise beyond the margin counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.adwin import AdwinRise
from penstock.monitors.losses.ledger import Ledger, Sums
from penstock.monitors.losses.paired import BaseBlock, PairedTest
from penstock.monitors.losses.rate_of_labels import LabelRate

HARM_SHARE = 0.4
LEAD_SHARE = 0.5
PROBABILITY_LEAST = 0.005
PROBABILITY_MOST = 0.995
LOSS_MOST = -log(PROBABILITY_LEAST)


def log_loss(probability: float, outcome: float) -> float:
    """Log loss of a predicted probability, in nats, the probability clipped to [.005, .995].

    Clipping bounds a single label's say. A probability that is not a number costs the most.

    >>> round(log_loss(0.8, 1), 4), round(log_loss(0.8, 0), 4)
    (0.2231, 1.6094)
    """
    p = probability
    if p > PROBABILITY_MOST:
        p = PROBABILITY_MOST
    elif p < PROBABILITY_LEAST:
        p = PROBABILITY_LEAST
    elif p != p:
        return LOSS_MOST
    return -log(p if outcome else 1.0 - p)


def margin_of(
    live_loss: float, base_loss: float, worth_share: float = 0.10, base_share: float = 0.02
) -> float:
    """Least loss difference worth acting on: max(10 % of the model's worth, 2 % of the base loss), in nats.

    The worth is base loss less live loss; a model worse than the base rate is worth 0.
    """
    return max(worth_share * max(base_loss - live_loss, 0.0), base_share * base_loss)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """What the loss monitors may cost and how much they remember.

    Attributes:
        false_alarms_per_year: the whole budget; see the shares above.
        labels_per_year: None estimates it from the stream as it is lately, see `LabelRate`.
        base_labels: labels per base block; judged blocks are 1, 2, 4, ... of them.
        reference_labels: labels in the reference.
        min_blocks: judged blocks the reference must hold before a test speaks.
        worth_share, base_share: see `margin_of`.
    """

    false_alarms_per_year: float = 1.0
    labels_per_year: float | None = None
    base_labels: int = 125
    reference_labels: int = 28_000
    min_blocks: int = 24
    worth_share: float = 0.10
    base_share: float = 0.02

    def __post_init__(self) -> None:
        if self.false_alarms_per_year <= 0:
            raise ValueError(f"false_alarms_per_year must be positive, got {self.false_alarms_per_year}")
        if self.labels_per_year is not None and self.labels_per_year <= 0:
            raise ValueError(f"labels_per_year must be positive, got {self.labels_per_year}")
        if self.base_labels < 1 or self.reference_labels < self.base_labels * self.min_blocks:
            raise ValueError(
                f"reference_labels must hold {self.min_blocks} blocks of {self.base_labels} labels, "
                f"got {self.reference_labels}"
            )


class LossMonitor:
    """Watch the live loss against the base rate's (harm), and the committed model's against that of all together (lead).

    Losses come per label, in the order of the log. Transitions carry monitor `harm`, `lead` or `adwin`,
    subject `loss`, and effects in nats per label. `gap` is what the committed model lost more than
    all together by the newest label.

    Args:
        config: budgets and sizes.

    Example:
        >>> monitor = LossMonitor()
        >>> monitor.update(at_ms=0, position=0, live=log_loss(0.7, 1), base=log_loss(0.2, 1))
        []
    """

    __slots__ = (
        "_base", "_committed", "_in_block", "_live", "_rate", "_rival_labels", "_start", "_together",
        "_witness_since", "config", "gap", "harm", "lead", "ledger", "witness",
    )  # fmt: skip

    def __init__(self, config: LossConfig | None = None) -> None:
        self.config = config or LossConfig()
        base, blocks = self.config.base_labels, self.config.reference_labels // self.config.base_labels
        least = self.config.min_blocks
        self.harm = PairedTest(
            "harm", estimate_ratio=True, base_labels=base, reference_blocks=blocks, min_blocks=least
        )
        self.lead = PairedTest(
            "lead", estimate_ratio=False, base_labels=base, reference_blocks=blocks, min_blocks=least
        )
        self._rate = LabelRate()
        self.ledger = Ledger()
        self._start = (0, 0)
        self.witness = AdwinRise(floor=0.0)
        self._witness_since = (0, 0)
        self.gap = 0.0
        self._clear_block()

    def update(
        self, at_ms: int, position: int, live: float, base: float, rivals: tuple[float, float] | None = None,
    ) -> list[Transition]:  # fmt: skip
        """Take one label's losses; return the transitions it caused (almost always none).

        Args:
            at_ms: event time of the label.
            position: its position in the log.
            live: loss of the live prediction, made at the sample, as the next two.
            base: loss of the base rate.
            rivals: losses of the committed model and of all models together; None where the committed one said nothing.
        """
        if self._in_block == 0:
            self._start = (at_ms, position)
        self._in_block += 1
        self._live += live
        self._base += base
        self.gap = 0.0 if rivals is None else rivals[0] - rivals[1]
        if rivals is not None:
            self._committed += rivals[0]
            self._together += rivals[1]
            self._rival_labels += 1
        if self._in_block < self.config.base_labels:
            return []
        return self._close_block(at_ms, position)

    def committed_changed(self, at_ms: int, position: int, reason: str) -> list[Transition]:
        """Another model is the committed one: close what is open about the former, and start again; the noise level is kept."""
        closed = self.lead.closing(at_ms, position, reason)
        self.lead.restart()
        # A block shared by two models is not counted for either.
        self._rival_labels = -self.config.base_labels
        return closed

    def live_changed(self, at_ms: int, position: int, reason: str) -> list[Transition]:
        """A person put another model in place: close what is open about the live prediction and start again."""
        closed = self.harm.closing(at_ms, position, reason)
        closed += self._close_witness(at_ms, position, reason) + self.committed_changed(
            at_ms, position, reason
        )
        self.harm.restart()
        self.witness.restart()
        if self._in_block:
            self.ledger.add(position, self._in_block, self._live, self._base)
        self._clear_block()
        return closed

    def accept_level(self, at_ms: int, position: int) -> list[Transition]:
        """Take the loss since the harm episode's onset as the new normal and close the episode."""
        reason = "new level accepted"
        closed = self.harm.closing(at_ms, position, reason) + self._close_witness(at_ms, position, reason)
        self.harm.accept_level(self.margin)
        self.witness.restart()
        return closed

    @property
    def firing(self) -> bool:
        """Whether any of the tests fires now."""
        return "firing" in (self.harm.phase, self.lead.phase) or self.witness.firing

    @property
    def labels_per_year(self) -> float:
        """As configured, or of the stream as it is lately."""
        return self._rate.per_year if self.config.labels_per_year is None else self.config.labels_per_year

    @property
    def margin(self) -> float:
        """The least loss difference worth acting on, over the harm test's reference."""
        live, base = self.harm.reference_means()
        return margin_of(live, base, self.config.worth_share, self.config.base_share)

    def sums(self, position: int) -> Sums:
        """What was judged up to a position at the end of the log, the unfinished block with it."""
        now = self.ledger.now
        return Sums(position, now.labels + self._in_block, now.live + self._live, now.base + self._base)

    def _close_block(self, at_ms: int, position: int) -> list[Transition]:
        size = self.config.base_labels
        self._rate.count(size, self._start[0], at_ms)
        self.ledger.add(position, size, self._live, self._base)
        place = (*self._start, at_ms, position)
        margin = self.margin
        was_firing = self.harm.phase == "firing"
        # base blocks a year; by a test's share of the budget, base blocks per false alarm
        blocks = self.labels_per_year / size
        budget = self.config.false_alarms_per_year
        x, transitions = self.harm.update(
            BaseBlock(self._live / size, self._base / size, *place), margin, blocks / (HARM_SHARE * budget)
        )
        if x is not None:
            transitions += self._hear(x, place)
        if self._rival_labels > 0:
            count = self._rival_labels
            block = BaseBlock(self._committed / count, self._together / count, *place)
            keep = not was_firing and self.harm.phase != "firing"
            transitions += self.lead.update(block, margin, blocks / (LEAD_SHARE * budget), keep)[1]
        self._clear_block()
        return transitions

    def _hear(self, x: float, place: tuple[int, int, int, int]) -> list[Transition]:
        """Let ADWIN hear one block: x is (D - margin)/scale, so a level above 0 exceeds the margin.

        ADWIN cuts its window by halves and cannot date a rise. The harm test sums the same blocks, so the onset is taken from it,
        unless that is of an episode it found before.
        """
        change = self.witness.update(x)
        if change == "firing":
            onset = self.harm.onset if self.harm.phase != "firing" else None
            self._witness_since = (onset.start_ms, onset.start_position) if onset else place[:2]
        return [self._witness_transition(change, place[2], place[3], "level of the loss")] if change else []

    def _close_witness(self, at_ms: int, position: int, reason: str) -> list[Transition]:
        return [self._witness_transition("resolved", at_ms, position, reason)] if self.witness.firing else []

    def _witness_transition(
        self, state: Literal["firing", "resolved"], at_ms: int, position: int, reason: str
    ) -> Transition:
        scale = self.harm.calibration.scale if self.harm.calibration else 0.0
        level = self.witness.level
        return Transition(
            "adwin", "loss", state, level, 0.0, level * scale, *self._witness_since, at_ms,
            position, {**self.witness.figures, "reason": reason},
        )  # fmt: skip

    def _clear_block(self) -> None:
        self._in_block = 0
        self._live = self._base = self._committed = self._together = 0.0
        self._rival_labels = 0
