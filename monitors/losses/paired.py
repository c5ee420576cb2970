"""One sequential test of a paired loss difference, on blocks of adaptive size.

Laws of this file
- D = mean(first) - ratio * mean(second) over a block; ratio, scale and clip correction come from past blocks
  only.
- The reference is the last `reference_blocks` base blocks outside fired episodes. Suspicion does not trim it:
  a reference cleaned of every bad moment is biased low and alarms too often.
- While firing, the calibration stands still. Accepting the level makes the episode's own blocks the
  reference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.blocks import Calibration, Floats, add, calibrate
from penstock.monitors.losses.edetector import EDetector

THRESHOLD_LEAST = 20.0
"""Least threshold: a stream of very few blocks a year still needs evidence of twenty to one."""


@dataclass(frozen=True, slots=True)
class BaseBlock:
    """Mean losses of one base block of labels, and where it lay."""

    first: float
    second: float
    start_ms: int
    start_position: int
    end_ms: int
    end_position: int


class _Columns:
    """The reference's losses as two columns, and their sums once they were asked for."""

    __slots__ = ("_sums", "first", "second")

    def __init__(self, first: Floats, second: Floats) -> None:
        self.first, self.second = first, second
        self._sums: tuple[float, float] | None = None

    @property
    def sums(self) -> tuple[float, float]:
        """Of the first and of the second."""
        if self._sums is None:
            self._sums = float(add(self.first)), float(add(self.second))
        return self._sums


class PairedTest:
    """Does `first` lose more than `second`, beyond a margin?

    Args:
        monitor: the name its transitions carry.
        estimate_ratio: scale `second` by sum(first)/sum(second) of the reference, so that D is centred on 0
            and the noise both share cancels; otherwise the ratio is 1.
        base_labels: labels per base block.
        reference_blocks: base blocks kept as reference.
        min_blocks: judged blocks the reference must hold before anything is tested.
    """

    __slots__ = (
        "_columns", "_episode", "_onsets", "_pending", "_reference", "base_labels", "calibration", "detector",
        "estimate_ratio", "last_x", "min_blocks", "monitor", "ratio",
    )  # fmt: skip

    def __init__(
        self, monitor: str, *, estimate_ratio: bool, base_labels: int, reference_blocks: int, min_blocks: int
    ) -> None:
        self.monitor = monitor
        self.estimate_ratio = estimate_ratio
        self.base_labels = base_labels
        self.min_blocks = min_blocks
        self.detector = EDetector(THRESHOLD_LEAST)
        self.calibration: Calibration | None = None
        self.ratio = 1.0
        self.last_x: float | None = None
        self._reference: deque[BaseBlock] = deque(maxlen=reference_blocks)
        self._columns: _Columns | None = None
        self._episode: deque[BaseBlock] = deque(maxlen=reference_blocks)
        self._pending: list[BaseBlock] = []
        self._onsets: dict[int, list[BaseBlock]] = {}

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """The columns are found again from the blocks: a stored state holds plain values only."""
        kept = {name: getattr(self, name) for name in self.__slots__ if name != "_columns"}
        return None, {**kept, "_columns": None}

    @property
    def phase(self) -> Literal["ok", "suspected", "firing"]:
        """ok, suspected or firing."""
        return self.detector.phase

    @property
    def reference_labels(self) -> int:
        """Labels the reference holds."""
        return len(self._reference) * self.base_labels

    def reference_means(self) -> tuple[float, float]:
        """Mean loss of first and of second over the reference; (0, 0) while it is empty."""
        count = len(self._reference)
        if not count:
            return 0.0, 0.0
        first, second = self._held().sums
        return first / count, second / count

    def update(
        self, block: BaseBlock, margin: float, blocks_allowed: float, keep: bool = True
    ) -> tuple[float | None, list[Transition]]:
        """Take one base block.

        Args:
            block: the newest base block.
            margin: differences up to this are not worth acting on, in nats.
            blocks_allowed: base blocks per false alarm; the threshold follows from it and the block size.
            keep: whether the block may enter the reference (false while another test has found the data bad).

        Returns:
            The standardised difference (D - margin)/scale of the block it completed, clipped to [-2, 8], or
            None; and the transitions.
        """
        self._pending.append(block)
        if self.calibration is None:
            self._absorb(keep, margin)
            return None, []
        if len(self._pending) < self.calibration.multiple:
            return None, []
        difference = self._difference()
        z = self.calibration.standardise(difference, margin)
        kappa = self.calibration.kappa
        self.last_x = z * (kappa + 2.0) + kappa
        self.detector.threshold = max(THRESHOLD_LEAST, blocks_allowed / self.calibration.multiple)
        if self.phase != "firing":
            self._onsets[self.detector.step + 1] = list(self._pending)
        change = self.detector.update(z)
        for step in [step for step in self._onsets if step < self.detector.onset_step]:
            del self._onsets[step]
        transitions = [self._transition(change, difference, margin, block)] if change else []
        if change == "firing":
            self._open_episode()
        self._absorb(keep, margin)
        return self.last_x, transitions

    def restart(self) -> None:
        """Forget the evidence and the unfinished block; keep the reference."""
        self.detector.restart()
        self._pending.clear()
        self._onsets.clear()
        self._episode.clear()

    def accept_level(self, margin: float) -> None:
        """Take the level since the onset as the reference, and start again from no evidence."""
        if self._episode:
            self._refer(self._episode)
        self.restart()
        self._calibrate(margin)

    def exclude_since(self, position: int, margin: float) -> None:
        """Take out of the reference what came at or after a log position, because it proved bad."""
        self._refer(block for block in self._reference if block.start_position < position)
        if self.phase != "firing":
            self._calibrate(margin)

    def closing(self, at_ms: int, position: int, reason: str) -> list[Transition]:
        """The transition that closes what is open, if anything is; the caller then restarts the test."""
        if self.phase == "ok":
            return []
        onset = self.onset
        return [
            Transition(
                self.monitor, "loss", "resolved", self.detector.statistic, self.detector.threshold, 0.0,
                onset.start_ms if onset else at_ms, onset.start_position if onset else position, at_ms,
                position, {"reason": reason},
            )
        ]  # fmt: skip

    def gained(self) -> tuple[float, int]:
        """What `first` lost more than `second` since the onset of what fires: (nats, labels); (0, 0) while nothing does."""
        lost = sum(block.first - block.second for block in self._episode) * self.base_labels
        return (lost, len(self._episode) * self.base_labels) if self.phase == "firing" else (0.0, 0)

    def _refer(self, blocks: Iterable[BaseBlock]) -> None:
        """These blocks are the reference from here on."""
        self._reference = deque(blocks, maxlen=self._reference.maxlen)
        self._columns = None

    def _extend_reference(self) -> None:
        """The pending blocks join the reference, and the oldest beyond its length leave it."""
        first, second = self._pairs()
        self._reference.extend(self._pending)
        gone = len(first) + len(self._pending) - len(self._reference)
        self._columns = _Columns(
            np.concatenate((first, [block.first for block in self._pending]))[gone:].copy(),
            np.concatenate((second, [block.second for block in self._pending]))[gone:].copy(),
        )

    def _pairs(self) -> tuple[Floats, Floats]:
        """The reference's losses as two columns."""
        columns = self._held()
        return columns.first, columns.second

    def _held(self) -> _Columns:
        """The reference's columns, made from its blocks where they are not known."""
        if self._columns is None:
            first = np.array([block.first for block in self._reference], dtype=np.float64)
            second = np.array([block.second for block in self._reference], dtype=np.float64)
            self._columns = _Columns(first, second)
        return self._columns

    def _difference(self) -> float:
        count = len(self._pending)
        first = sum(block.first for block in self._pending)
        second = sum(block.second for block in self._pending)
        return (first - self.ratio * second) / count

    def _absorb(self, keep: bool, margin: float) -> None:
        """Move the judged block into the reference (or the episode), and calibrate for the next."""
        if self.phase == "firing":
            self._episode.extend(self._pending)
        elif keep:
            self._extend_reference()
        self._pending.clear()
        if self.phase != "firing":
            self._calibrate(margin)

    def _calibrate(self, margin: float) -> None:
        if not self._reference:
            return
        columns = self._held()
        if self.estimate_ratio:
            first, second = columns.sums
            self.ratio = first / second if second > 0 else 1.0
        # A reference too short for a scale keeps the last one: a new level seldom changes the noise.
        fresh = calibrate(columns.first - self.ratio * columns.second, margin, self.min_blocks)
        self.calibration = fresh or self.calibration

    @property
    def onset(self) -> BaseBlock | None:
        """The base block at which the difference seems to have begun; None where it was left out of a test."""
        found = self._onsets.get(self.detector.onset_step)
        return found[0] if found else None

    def _open_episode(self) -> None:
        onset = self.onset
        since = onset.start_position if onset else self._pending[0].start_position
        # Also those that were kept out of the reference; the newest are added when they are absorbed.
        judged = [block for _, blocks in sorted(self._onsets.items()) for block in blocks]
        newest = self._pending[0].start_position
        self._episode = deque(
            (block for block in judged if since <= block.start_position < newest),
            maxlen=self._reference.maxlen,
        )
        self._refer(block for block in self._reference if block.start_position < since)

    def _transition(
        self,
        change: Literal["suspected", "firing", "resolved"],
        difference: float,
        margin: float,
        block: BaseBlock,
    ) -> Transition:
        onset = self.onset or self._pending[0]
        last = self._onsets.get(self.detector.onset_to_step, self._pending)[-1]
        calibration = self.calibration
        assert calibration is not None
        return Transition(
            self.monitor, "loss", change, self.detector.statistic, self.detector.threshold, difference,
            onset.start_ms, onset.start_position, block.end_ms, block.end_position,
            {
                "onset_to_ms": last.end_ms,
                "onset_to_position": last.end_position,
                "block_labels": calibration.multiple * self.base_labels,
                "scale": calibration.scale,
                "correlation": calibration.correlation,
                "kappa": calibration.kappa,
                "margin": margin,
                "ratio": self.ratio,
                "reference_labels": self.reference_labels,
                "loss": sum(item.first for item in self._pending) / len(self._pending),
                "against": sum(item.second for item in self._pending) / len(self._pending),
            },
        )  # fmt: skip
