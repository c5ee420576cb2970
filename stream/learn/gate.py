"""The gate: how much each expert counts in the live prediction. Labels alone move it, so a wrong suspicion costs nothing but CPU.

Laws of this file:
- An expert is whatever could predict: a model that learns, a copy that no longer does, the base rate. Each has a weight,
  once for each of three learning rates; the prediction is their weighted mean, and a second layer weighs the rates.
- A label multiplies each weight by p(label)^rate, p being what that expert said when the sample arrived. A little of all weight
  is then shared out evenly (fixed share: Herbster and Warmuth, "Tracking the best expert", 1998): none is ever lost for good.
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
from math import exp, log

RATES = (0.05, 0.2, 1.0)
OUTER_RATE = 0.1
"""The rate at which the three rates are weighed against each other."""
SHARE = 1e-4
"""How much of all weight is shared out evenly after each label."""
OUTER_SHARE = 1e-3
LEAST_PROBABILITY = 0.002
"""Weights are charged by probabilities kept this far from 0 and 1, so that one label costs at most 6.2 nats."""
SLOWED_BY_LABELS = 100.0

Said = Sequence[float | None]
"""What every expert said of one sample, in the order of the weights; None is asleep."""


def slowed(delay: float) -> float:
    """The factor on every rate where a label comes after `delay` further predictions, on average.

    >>> slowed(0.0), slowed(100.0)
    (1.0, 0.5)
    """
    return 1.0 / (1.0 + delay / SLOWED_BY_LABELS)


def least_probability(base: float) -> float:
    """How far from 0 and 1 a charged probability is kept, where `base` is the share of true labels: less where one is rare."""
    return min(LEAST_PROBABILITY, 0.2 * min(base, 1.0 - base) + 1e-5)


class Mixture:
    """What the gate made of one sample: the prediction, and the (clipped) mixture of each rate, which its label will need."""

    __slots__ = ("least", "p", "rates")

    def __init__(self, p: float, rates: tuple[float, ...], least: float) -> None:
        self.p = p
        self.rates = rates
        self.least = least


class Gate:
    """Weights of experts that stand in one order: `weights[k][i]` is the i-th expert's at `RATES[k]`; each rate's sum is 1.

    Example:
        >>> gate = Gate()
        >>> gate.add(), gate.add()
        (0, 1)
        >>> gate.equal()
        >>> for _ in range(20):
        ...     said = (0.9, 0.2)
        ...     gate.charge(said, gate.mix(said), True)
        >>> round(gate.weight(0), 2)
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

    def equal(self) -> None:
        """All experts count alike."""
        for weights in self.weights:
            weights[:] = [1.0 / len(weights)] * len(weights)

    def give(self, place: int, share: float = 1.0) -> None:
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
        a, b, c = self.rate_weights
        return [a * x + b * y + c * z for x, y, z in zip(*self.weights, strict=True)]

    def mix(self, said: Said, base: float = 0.5) -> Mixture:
        """The live prediction; experts that sleep have no part in it. `said` must hold at least one number."""
        least = least_probability(base)
        most = 1.0 - least
        clipped = [p if p is None or least <= p <= most else (least if p < least else most) for p in said]
        rates = []
        p = 0.0
        for rate_weight, weights in zip(self.rate_weights, self.weights, strict=True):
            mixed = awake = 0.0
            for weight, one in zip(weights, clipped, strict=True):
                if one is not None:
                    mixed += weight * one
                    awake += weight
            mixed = mixed / awake if awake > 0.0 else 0.5
            rates.append(mixed)
            p += rate_weight * mixed
        return Mixture(p if clipped == list(said) else self._unclipped(said), tuple(rates), least)

    def _unclipped(self, said: Said) -> float:
        """The prediction as the experts said it: only what the weights are charged is clipped."""
        p = 0.0
        for rate_weight, weights in zip(self.rate_weights, self.weights, strict=True):
            awake = [(weight, one) for weight, one in zip(weights, said, strict=True) if one is not None]
            total = sum(weight for weight, _ in awake)
            p += rate_weight * (sum(weight * one for weight, one in awake) / total if total > 0.0 else 0.5)
        return min(max(p, 0.0), 1.0)

    def charge(self, said: Said, mixture: Mixture, y: bool, slow: float = 1.0) -> None:
        """One label: charge every expert with what it said at its sample, at rates that are `slow` (up to 1) times the usual."""
        least = mixture.least
        most = 1.0 - least
        losses = [
            None if p is None else -log(min(max(p, least), most) if y else 1.0 - min(max(p, least), most))
            for p in said
        ]
        outer = []
        keep, place = 1.0 - SHARE, SHARE / len(said)
        for k, rate in enumerate(RATES):
            mixed = -log(mixture.rates[k] if y else 1.0 - mixture.rates[k])
            eta = rate * slow
            weights = [
                weight if loss is None else weight * exp(eta * (mixed - loss))
                for weight, loss in zip(self.weights[k], losses, strict=True)
            ]
            total = keep / sum(weights)
            self.weights[k] = [weight * total + place for weight in weights]
            outer.append(self.rate_weights[k] * exp(-OUTER_RATE * mixed))
        total = (1.0 - OUTER_SHARE) / sum(outer)
        self.rate_weights = [one * total + OUTER_SHARE / len(RATES) for one in outer]
