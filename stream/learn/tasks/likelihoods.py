"""What the tasks share whose answers are no probabilities of true: the mixture of answers, and how its label is heard.

Laws of this file:
- An answer is turned into the likelihood that it gave to what happened, in [0, 1]; the gate then charges that as it charges the
  probability of true for a label that is true. So its weights, its bound and its three rates are the same.
- The weights of the sample's own moment mix the likelihoods, since by them the answers were mixed: a late label charges
  each expert against the mixture of its sample, not against a later one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from penstock.stream.learn import weighing
from penstock.stream.learn.gate import BOOST, Gate, Mixture
from penstock.stream.learn.tasks.task import W

Weights = tuple[list[float], list[float], list[float], list[float]]
"""The experts' weights at the three rates, and those of the rates."""
pack = struct.Struct("<qd").pack


class Moment(Mixture):
    """The mixture of one sample: `p` is the live answer, `weights` are those of that moment."""

    weights: Weights = ([], [], [], [])

    def of(self, said: Sequence[float | None], p: float) -> Mixture:
        """The mixture of these likelihoods under the same weights, `p` being that of the live answer."""
        slow, middle, fast, rates = self.weights
        _, mixed = weighing.mix(slow, middle, fast, rates, said, self.least, self.boosted, BOOST)
        return Mixture(p, mixed, self.least, self.boosted)


def moment(p: Any, weights: Weights, least: float, boosted: Sequence[bool]) -> Moment:
    """The mixture whose live answer is `p`; it knows no likelihoods before the label."""
    return Moment(p, (0.5, 0.5, 0.5), least, boosted, weights)


def copied(gate: Gate) -> Weights:
    """The gate's weights as they are now."""
    slow, middle, fast = gate.weights
    return slow[:], middle[:], fast[:], gate.rate_weights[:]


def parts(weights: Weights, said: Sequence[Any], boosted: Sequence[bool]) -> list[float]:
    """The part of each expert in the live answer, as `weighing.mix` counts them: 0 for who sleeps; they add up to 1.

    >>> parts(([0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.25, 0.25, 0.5]), (1.0, None, 2.0), ())
    [0.8333333333333333, 0.0, 0.16666666666666666]
    """
    found = [0.0] * len(said)
    for rate, (weight_of_rate, one) in enumerate(zip(weights[3], weights[:3], strict=True)):
        awake = [0.0 if answer is None else weight for answer, weight in zip(said, one, strict=True)]
        if boosted and rate < 2:
            awake = [weight * BOOST if more else weight for weight, more in zip(awake, boosted, strict=True)]
        total = sum(awake)
        if total > 0.0:
            found = [
                part + weight_of_rate * weight / total for part, weight in zip(found, awake, strict=True)
            ]
    return found


def heard(waits: W, likely: Callable[[Any], float]) -> tuple[W, bool]:
    """The sample with the likelihoods that `likely` finds for every answer, and True."""
    answer = waits.answer
    said = tuple([None if one is None else likely(one) for one in answer.said])
    mixture = answer.mixture.of(said, likely(answer.mixture.p))
    return waits.heard(likely(waits.p), likely(waits.base), type(answer)(answer.asked, said, mixture)), True
