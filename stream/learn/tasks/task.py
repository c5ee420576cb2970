"""What a task is to the fold.

Laws of this file:
- An *answer* is what a model says of a vector: a probability, a probability for each class, a number, a score. Only a task looks
  into it; everybody else carries it about.
- The gate, the drift rules, births and departures know one language: the likelihood that was given to what happened. When a label
  comes, `heard` turns every answer into that, and what happened into True. So one gate and one set of rules serve every task.
- A task is part of the fold's state: what it keeps is a function of the log alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from penstock.stream.learn.gate import Gate, Mixture
from penstock.stream.task_kind import Kind

W = TypeVar("W", bound="Waits")


class Waits(Protocol):
    """A sample that waits for its label: the live prediction `p`, that of the base predictor, and what every expert said."""

    @property
    def p(self) -> Any:
        """The live prediction."""

    @property
    def base(self) -> Any:
        """That of the base predictor."""

    @property
    def answer(self) -> Any:
        """What every expert said."""

    def heard(self: W, p: float, base: float, answer: Any) -> W:
        """The same sample with likelihoods of its label in the place of what was said."""


class Task(Protocol):
    """What differs between tasks, for one fold."""

    kind: Kind
    at_once: bool
    """Whether the model learns at the sample, because no label comes."""
    first_base: Any
    """What the base predictor says before any label."""

    def fresh(self, model: Any) -> Any:
        """A new model that knows nothing, as the definition's `model` is; it may be wrapped."""

    def said(self, model: Any, x: dict[str, Any]) -> Any:
        """The model's answer; None when it fails: it raises, or its answer is none."""

    def knows(self, y: Any) -> bool:
        """Whether this is a label of the task. Under another definition the log may hold others: they are passed over."""

    def learn(self, model: Any, x: dict[str, Any], y: Any) -> bool:
        """Teach the model one label; False when it raised."""

    def mix(self, gate: Gate, said: Sequence[Any], base: Any, boosted: Sequence[bool]) -> Mixture:
        """The live prediction of what the experts `said`, in the order of the gate's weights, as `Gate.mix` does it."""

    def heard(self, waits: W, y: Any) -> tuple[W, bool]:
        """What was said of a sample, as likelihoods of its label `y`, and True; of true and false, just as it is."""

    def follow(self, base: Any, y: Any) -> Any:
        """What the base predictor says after this label, having said `base` before."""

    def packed(self, position: int, p: Any) -> bytes:
        """The live prediction at a position, for the chain of the digest."""

    def watched(self, p: Any) -> float:
        """The number by which the distribution of predictions is watched."""

    def shown(self, p: Any) -> tuple[Any, ...]:
        """The fields of a published prediction: its value, then what stands after `position`, if anything."""

    def sums(self) -> dict[str, float]:
        """Sums of figures over all labels so far, by the name of their mean; where no labels come, over all samples."""

    def measures(self) -> dict[str, float]:
        """The running figures of the live prediction and of the base predictor, by name; empty before the first label."""
