"""The gate: how much each expert counts in the live prediction. Labels alone move it, so a wrong suspicion costs nothing but CPU.

Laws of this file:
- An expert is whatever could predict: a model that learns, a copy that no longer does, the base rate. Each has a weight,
  once for each of three learning rates; the prediction is their weighted mean, and a second layer weighs the rates.
- A label multiplies each weight by p(label)^rate, p being what that expert said when the sample arrived. A little of all weight
  is then shared out evenly (fixed share: Herbster and Warmuth, "Tracking the best expert", 1998): none is ever lost for good.
- An expert of little weight may be asked at few samples only; where it is, it counts `BOOST` times over, as far as its rate stays
  at or below 1. The same factor is on its weight in the mixture and on its charge, which is why the bound holds for it as well
  (a mixture tilted by the rates: Koolen and van Erven, "Second-order quantile methods", 2015, use it for many rates at once).
- An expert that said nothing at a sample (born later, asked less often, failing) sleeps: it is charged what the mixture is
  charged, so it neither gains nor loses (Freund, Schapire, Singer and Warmuth, "Using and combining predictors that
  specialize", 1997).
- The bound. Log loss is exp-concave at every rate up to 1, so the weights before sharing never grow in sum. For T labels, at a
  rate r with N experts and a share a, the mixture's loss exceeds that of any sequence of experts with m switches by at most
  (ln N + m ln(N / a) + T ln(1 / (1 - a))) / r, whatever the labels and the experts do: staying with one expert (m = 0) costs ln N
  and a little. That is for labels that come before the next sample. Where they come late nothing so strong holds, because for
  as many predictions as are on their way nothing was heard: the rates shrink with that number (`slowed`), as they must
  (Joulani, Gyorgy and Szepesvari, "Online learning under delayed feedback", 2013).
- A function of what it was told; pure but for its own state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.stream.learn import weighing

RATES = (0.05, 0.2, 1.0)
"""The second is the first four times over, the third twenty times."""
OUTER_RATE = 0.1
"""The rate at which the three rates are weighed against each other."""
SHARE = 1e-4
"""How much of all weight is shared out evenly after each label."""
OUTER_SHARE = 1e-3
LEAST_PROBABILITY = 0.002
"""Weights are charged by probabilities kept this far from 0 and 1, so that one label costs at most 6.2 nats."""
SLOWED_BY_LABELS = 100.0
SHARED_BY_LABELS = 1_000.0
BOOST = 4.0

Said = Sequence[float | None]
"""What every expert said of one sample, in the order of the weights; None is asleep."""


def slowed(delay: float) -> float:
    """The factor on every rate where a label comes after `delay` further predictions, on average.

    >>> slowed(0.0), slowed(100.0)
    (1.0, 0.5)
    """
    return 1.0 / (1.0 + delay / SLOWED_BY_LABELS)


def shared(delay: float) -> float:
    """How much is shared out where a label comes so late: less, as the weights then move more slowly.

    >>> shared(0.0) == SHARE, shared(1_000.0) == SHARE / 2
    (True, True)
    """
    return SHARE / (1.0 + delay / SHARED_BY_LABELS)


def least_probability(base: float) -> float:
    """How far from 0 and 1 a charged probability is kept, where `base` is the share of true labels: less where one is rare."""
    rarer = 1.0 - base if base > 0.5 else base
    least = 0.2 * rarer + 1e-5
    return LEAST_PROBABILITY if least > LEAST_PROBABILITY else least


class Mixture(msgspec.Struct, gc=False):
    """What the gate made of one sample: the prediction, and what its label will need.

    `rates` is the (clipped) mixture of each rate, `boosted` says of each expert whether it counted `BOOST` times over.
    """

    p: Any
    rates: tuple[float, float, float]
    least: float
    boosted: Sequence[bool] = ()


class Gate:
    """Weights of experts that stand in one order: `weights[k][i]` is the i-th expert's at `RATES[k]`; each rate's sum is 1.

    Example:
        >>> gate = Gate()
        >>> gate.add(), gate.add(0.5)
        (0, 1)
        >>> for _ in range(60):
        ...     said = (0.9, 0.2)
        ...     _ = gate.charge(said, gate.mix(said), True)
        >>> round(gate.weight(0), 1)
        1.0
    """

    __slots__ = ("rate_weights", "weights")

    def __init__(self) -> None:
        self.weights: list[list[float]] = [[] for _ in RATES]
        self.rate_weights = [1.0 / len(RATES)] * len(RATES)

    # -- who there is ------------------------------------------------------------------------------------------------------

    def add(self, weight: float = SHARE) -> int:
        """One more expert, the last in order, with this share of all weight; its place."""
        for weights in self.weights:
            if not weights:
                weights.append(1.0)
                continue
            weights[:] = [one * (1.0 - weight) for one in weights]
            weights.append(weight)
        return len(self.weights[0]) - 1

    def split(self, place: int) -> int:
        """One more expert, the last in order, with half of the weight of the one at `place`; its place."""
        for weights in self.weights:
            weights[place] /= 2.0
            weights.append(weights[place])
        return len(self.weights[0]) - 1

    def remove(self, place: int) -> None:
        """The expert at `place` is gone; its weight falls to the others as theirs are."""
        for weights in self.weights:
            del weights[place]
            total = sum(weights)
            weights[:] = (
                [one / total for one in weights] if total > 0.0 else [1.0 / len(weights)] * len(weights)
            )

    def give(self, place: int, share: float) -> None:
        """The expert at `place` has this share of all weight; the others keep what is left in the proportion they had."""
        for weights in self.weights:
            rest = sum(weights) - weights[place]
            keep = (1.0 - share) / rest if rest > 0.0 else 0.0
            weights[:] = [one * keep for one in weights]
            weights[place] = share

    # -- samples and labels ------------------------------------------------------------------------------------------------

    def weight(self, place: int) -> float:
        """The weight of the expert at `place`, over all rates."""
        return sum(
            rate * weights[place] for rate, weights in zip(self.rate_weights, self.weights, strict=True)
        )

    def totals(self) -> list[float]:
        """The weight of every expert, in order, over all rates."""
        slow, middle, fast = self.weights
        return weighing.totals(slow, middle, fast, self.rate_weights)

    def mix(self, said: Said, base: float = 0.5, boosted: Sequence[bool] = ()) -> Mixture:
        """The live prediction; experts that sleep have no part in it. `said` must hold at least one number.

        `boosted` says of each expert whether it counts `BOOST` times over; empty for none.
        """
        least = least_probability(base)
        slow, middle, fast = self.weights
        p, rates = weighing.mix(slow, middle, fast, self.rate_weights, said, least, boosted, BOOST)
        return Mixture(p, rates, least, boosted)

    def charge(
        self, said: Said, mixture: Mixture, y: bool, slow: float = 1.0, share: float = SHARE
    ) -> tuple[list[float], float]:
        """One label: charge every expert with what it said at its sample, at rates that are `slow` (up to 1) times the usual.

        `share` of all weight is then shared out evenly.

        Returns:
            What each was charged, in nats, and what the live prediction was; who slept is charged the same as that.
        """
        charged: list[float] = []
        first, second, third = self.weights
        live = weighing.settle(
            first, second, third, self.rate_weights, said, mixture.rates, mixture.p, mixture.least, y, RATES[0] * slow,
            mixture.boosted, BOOST, share, OUTER_RATE, OUTER_SHARE, charged,
        )  # fmt: skip
        return charged, live
