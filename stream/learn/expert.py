"""One expert of a fold, and what all of them said of one sample.

Laws of this file:
- An expert's model is river's, whatever runs it; a pickle holds that alone.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from penstock.stream.learn.engine import engine_of
from penstock.stream.learn.gate import Mixture

Kind = Literal["base", "first", "new", "frozen", "resumed", "retrained", "challenger", "careful"]
"""What an expert is: the base rate; the model that was never touched; a fresh one; a frozen copy; a learning copy of a frozen
one; the product of a retrain; a challenger that won its race; and a copy that leaves out values far outside what was learned."""

IDLE = frozenset({"base", "frozen"})
"""Those that labels do not change."""

YOUNG_LABELS = 500
"""An expert is not judged before it has learned so many labels."""


class Expert:
    """One of them. `number` is unique for ever; `born` counts labels, `born_at` is event time (ms), `born_position` in the log.

    `payload` are the bytes a frozen one was made from. `judged_before`, `live_before` and `base_before` are the labels that were
    judged before its birth, and what the live prediction and the base rate had lost by them (nats); `loss_then` and `live_then`
    what the two had lost when it was last looked at, `due` the label at which it is next. `learned_from` is the offset of the
    first record that could teach it, copies' sources included; None where that is not known. `engine` answers and learns;
    `model` is river's model as that left it, and a pickle holds it alone.
    """

    __slots__ = (
        "base_before", "born", "born_at", "born_position", "due", "engine", "failures", "judged_before", "kind", "learned_from",
        "live_before", "live_then", "loss_then", "number", "parent", "payload", "taught", "unlearned", "version",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        version: str,
        kind: Kind,
        model: Any,
        born: tuple[int, int, int],
        parent: str | None = None,
    ) -> None:
        self.number, self.version, self.kind, self.model, self.parent = number, version, kind, model, parent
        self.born, self.born_at, self.born_position = born
        self.payload: bytes | None = None
        self.taught = self.judged_before = self.failures = self.unlearned = 0
        self.loss_then = self.live_before = self.live_then = self.base_before = 0.0
        self.learned_from: int | None = self.born_position
        self.due = self.born + YOUNG_LABELS

    @property
    def model(self) -> Any:
        """River's model, as it is now."""
        return self.engine.model

    @model.setter
    def model(self, model: Any) -> None:
        self.engine = engine_of(model)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        kept = {name: getattr(self, name) for name in self.__slots__ if name != "engine"}
        return None, {**kept, "model": self.model}

    @property
    def learns(self) -> bool:
        """Whether labels change it."""
        return self.kind not in IDLE


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What the experts said of one sample: who was asked, their answers (or likelihoods, see `tasks`), and the mixture."""

    asked: tuple[int, ...]
    said: tuple[Any, ...]
    mixture: Mixture

    def of(self, expert: Expert) -> float | None:
        """What this expert said; None where it said nothing, or was not there yet."""
        asked, number = self.asked, expert.number
        return self.said[asked.index(number)] if number in asked else None
