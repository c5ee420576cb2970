"""What an explanation is, and how one is carried from a model's own scale to that of its answer.

Laws of this file:
- Base and contributions add up to the margin, to within rounding: 1e-9 of the greatest of them.
- An input that the model does not use contributes 0.
- Going from one scale to the other keeps both: see `Part.answered`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import fsum
from typing import Any, Literal, NamedTuple

import msgspec

Scale = Literal["log-odds", "probability", "number", "score"]
"""What base, contributions and margin are counted in."""
TOLERANCE = 1e-9
NEAR = 1e-6
"""Margin and base that lie nearer together than this have one slope between them, to within rounding."""
STEP = 1e-4


class CannotExplain(Exception):
    """Why there is no additive explanation of this prediction, in a sentence."""


class Unclaimed(Exception):
    """No exact method knows this model as it is: another one is to be asked."""


class Contribution(msgspec.Struct, frozen=True):
    """One input, its value (None: missing) and what it added to the base."""

    feature: str
    value: Any
    contribution: float


class ModelShare(msgspec.Struct, frozen=True):
    """One of the models that predicted together: its part of the prediction, and how its own was explained."""

    version: str
    kind: str
    weight: float
    method: str


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a prediction is what it is: `base` plus the sum of all contributions is `margin`, in the unit of `scale`.

    `contributions` begin with the largest; equals are in the order of the inputs. `prediction` is the model's answer: the
    probability of true (of the class `of`, where there are several), the number, the score. `method` says in words how this was
    found, and against what. `models` are those that predicted together; empty for one model by itself.
    """

    base: float
    margin: float
    prediction: float
    scale: Scale
    method: str
    contributions: list[Contribution]
    of: str | None = None
    models: list[ModelShare] = []

    def top(self, most: int) -> Explanation:
        """The same with its `most` largest contributions, and all others in one of the name `(others)`."""
        if len(self.contributions) <= most:
            return self
        rest = fsum(one.contribution for one in self.contributions[most:])
        others = Contribution("(others)", None, rest)
        return msgspec.structs.replace(self, contributions=[*self.contributions[:most], others])


class Part(NamedTuple):
    """One model's explanation while it is made. `link` makes the margin the model's answer; None where it is that."""

    base: float
    given: dict[str, float]
    scale: Scale
    method: str
    link: Callable[[float], float] | None = None

    @property
    def margin(self) -> float:
        """The base and all contributions."""
        return fsum((self.base, *self.given.values()))

    def answered(self, scale: Scale) -> Part:
        """The same on the scale of the answer.

        Each contribution is multiplied by the mean slope of the link between base and margin. That is the Aumann-Shapley value
        (integrated gradients along the straight line from the base), of which there is only one that adds up, gives 0 to what is
        not used, and does not depend on how the inputs are scaled.

        >>> from math import exp
        >>> part = Part(0.0, {"a": 1.0, "b": 0.0}, "log-odds", "", lambda z: 1.0 / (1.0 + exp(-z)))
        >>> found = part.answered("probability")
        >>> found.base, round(found.given["a"], 3), found.given["b"], round(found.margin, 3)
        (0.5, 0.231, 0.0, 0.731)
        """
        link = self.link
        if link is None:
            return self
        margin = self.margin
        away = margin - self.base
        if abs(away) > NEAR:
            slope = (link(margin) - link(self.base)) / away
        else:
            slope = (link(self.base + STEP) - link(self.base - STEP)) / (2.0 * STEP)
        given = {name: one * slope for name, one in self.given.items()}
        return Part(link(self.base), given, scale, self.method)


def ranked(given: Mapping[str, float], x: Mapping[str, Any], names: Iterable[str] = ()) -> list[Contribution]:
    """Contributions, the largest first, of all `names` and whatever else contributes."""
    order = dict.fromkeys((*names, *x, *given))
    found = [Contribution(name, x.get(name), given.get(name, 0.0)) for name in order]
    return sorted(found, key=lambda one: -abs(one.contribution))


def added(parts: Iterable[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """The weighted sum of contributions by name."""
    found: dict[str, float] = {}
    for weight, given in parts:
        for name, one in given.items():
            found[name] = found.get(name, 0.0) + weight * one
    return found
