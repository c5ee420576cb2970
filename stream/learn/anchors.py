"""Anchors: frozen versions that stood a probation, to compare the champion with and to roll back to.

Laws of this file:
- An anchor is born from a version that stood `probation_labels` with nothing open, and is no worse than the anchor before it.
- An episode whose onset lies before a version's birth discards that version: it may have learned what the episode is about.
- A frozen version is not plainly frozen: its level (an intercept on the log odds) follows the labels, or it would lose on every
  stormy day without being worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, log, sqrt
from typing import Any

from penstock.stream.learn.learner import said

PROBATION_LABELS = 7_000
KEPT_ANCHORS = 8
LEVEL_RATE = 0.01
_EDGE = 1e-9


def log_odds(p: float) -> float:
    """ln(p / (1 − p)), with p kept off 0 and 1; a probability that is not a number counts as 0.5."""
    if not p == p:
        return 0.0
    p = min(max(p, _EDGE), 1.0 - _EDGE)
    return log(p / (1.0 - p))


def at_level(p: float, level: float) -> float:
    """The probability `p` with its log odds moved by `level`."""
    z = log_odds(p) + level
    return 1.0 / (1.0 + exp(-z)) if z > -700.0 else 0.0


class Frozen:
    """A version whose weights stay as they are; only its level follows the labels. `failures` are those in a row."""

    __slots__ = ("failures", "level", "model", "version")

    def __init__(self, version: str, model: Any, level: float = 0.0) -> None:
        self.version = version
        self.model = model
        self.level = level
        self.failures = 0

    def predict(self, x: dict[str, Any]) -> float:
        """The probability of a true label, on the level of now; from 0.5 when the model fails."""
        p = said(self.model, x)
        self.failures = 0 if p is not None else self.failures + 1
        return at_level(0.5 if p is None else p, self.level)

    def follow(self, p: float, y: bool) -> None:
        """Move the level by one label, as an online learner moves its intercept."""
        self.level += LEVEL_RATE * ((1.0 if y else 0.0) - p)


@dataclass
class Anchor:
    """A version on probation, or past it: its birth in log positions and labels, its frozen form and its bytes."""

    version: str
    position: int
    join_from: int
    at: int
    labels: int
    payload: bytes
    frozen: Frozen


@dataclass
class PairedSum:
    """Running mean and standard error of the paired loss differences of a probation, in blocks against dependence."""

    block: int = 250
    n: int = 0
    block_sum: float = 0.0
    means: list[float] = field(default_factory=list)

    def add(self, difference: float) -> None:
        """One label's difference."""
        self.block_sum += difference
        self.n += 1
        if self.n % self.block == 0:
            self.means.append(self.block_sum / self.block)
            self.block_sum = 0.0

    def mean_and_error(self) -> tuple[float, float]:
        """(mean, standard error) over whole blocks; (0, inf) with fewer than two."""
        k = len(self.means)
        if k < 2:
            return 0.0, float("inf")
        mean = sum(self.means) / k
        variance = sum((value - mean) ** 2 for value in self.means) / (k - 1)
        return mean, sqrt(variance / k)


class Anchors:
    """Which versions may be rolled back to. The newest anchor is the one the champion is compared with.

    `label` is told every label while a version is on probation and answers what became of it: "anchor" (it was accepted),
    "refused" (worse than the anchor by the margin and two standard errors), or None. While something is open it waits.
    """

    def __init__(self, probation_labels: int = PROBATION_LABELS, most_kept: int = KEPT_ANCHORS) -> None:
        self.probation_labels = probation_labels
        self.most_kept = most_kept
        self.kept: list[Anchor] = []
        self.probation: Anchor | None = None
        self.stood = 0
        self.paired = PairedSum()

    @property
    def current(self) -> Anchor | None:
        """The newest anchor, or None before the first."""
        return self.kept[-1] if self.kept else None

    def enter(self, candidate: Anchor) -> None:
        """Put a version on probation, in place of whichever was on it."""
        self.probation, self.stood, self.paired = candidate, 0, PairedSum()

    def label(
        self, difference: float | None, margin: Callable[[], float], *, open_episode: bool
    ) -> str | None:
        """One label's loss of the probationer less the anchor's (None without an anchor). `margin` is asked at the end only."""
        if self.probation is None:
            return None
        if difference is not None:
            self.paired.add(difference)
        self.stood += 1
        if self.stood < self.probation_labels or open_episode:
            return None
        mean, error = self.paired.mean_and_error()
        worse = bool(self.kept) and mean > margin() + 2.0 * error
        candidate, self.probation = self.probation, None
        if worse:
            return "refused"
        self.kept.append(candidate)
        del self.kept[: -self.most_kept]
        return "anchor"

    def discard_since(self, onset: int) -> list[str]:
        """Drop every version born after log position `onset`, on probation or not; the ids dropped."""
        born_inside = [anchor for anchor in self.kept if anchor.position > onset]
        self.kept = [anchor for anchor in self.kept if anchor.position <= onset]
        dropped = [anchor.version for anchor in born_inside]
        if self.probation is not None and self.probation.position > onset:
            dropped.append(self.probation.version)
            self.probation = None
        return dropped

    def discard(self, version: str) -> None:
        """Drop one version."""
        self.kept = [anchor for anchor in self.kept if anchor.version != version]

    def before(self, onset: int) -> Anchor | None:
        """The newest version born at or before `onset`: an anchor, or else the one on probation, or None."""
        born = [anchor for anchor in self.kept if anchor.position <= onset]
        if born:
            return born[-1]
        if self.probation is not None and self.probation.position <= onset:
            return self.probation
        return None

    def find(self, version: str) -> Anchor | None:
        """A version of these by id."""
        kept = [*self.kept, *([self.probation] if self.probation else [])]
        return next((anchor for anchor in kept if anchor.version == version), None)
