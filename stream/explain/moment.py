"""The moment of one prediction: a fold takes the next sample, and what it asked its experts is explained before anything learns.

Laws of this file:
- The fold is stepped as ever: what it says, and what it is afterwards, is the same with and without an explanation.
- Explained is what the experts were at the moment of asking, after guards and before the labels that came before the sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.stream.explain.explanation import Explanation
from penstock.stream.explain.mixture import live
from penstock.stream.learn.expert import Answer
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.records import Predicted
from penstock.stream.messages import Sample, Value


class Explained(NamedTuple):
    """One prediction as it was made, and why it was that."""

    made: Predicted
    why: Explanation


def explained(
    fold: Fold,
    position: int,
    sample: Sample,
    *,
    background: Mapping[str, Any] | None = None,
    of: str | None = None,
) -> Explained | None:
    """Step `fold` by the sample at `position`, and explain what it predicts; None where it predicts nothing (a repeat).

    `background` and `of` are those of `mixture.live`. Raises `CannotExplain`; the fold is of no further use then.
    """
    experts, whys = fold.experts, list[Explanation]()
    ask = experts.ask
    before = len(fold.outputs.predictions)

    def asked(x: dict[str, Any], base: Any, number: int, outside: Sequence[str] = ()) -> Answer:
        answer = ask(x, base, number, outside)
        alone = experts.committed if (fold.alone or fold.pinned) and not fold.task.at_once else None
        names = [name for name in fold.recipes.names or () if name is not None]
        how: dict[str, Any] = {
            "outside": outside,
            "alone": alone,
            "background": background,
            "names": names,
            "of": of,
        }
        whys.append(live(experts, x, answer, **how))
        return answer

    vars(experts)["ask"] = asked
    try:
        fold.step(position, sample)
    finally:
        del vars(experts)["ask"]
    return Explained(fold.outputs.predictions[before], whys[0]) if whys else None


class Means:
    """The running mean of every input that is a number, over the samples it was told of: what is typical of them.

    >>> means = Means()
    >>> for x in ([1.0, "UA"], [3.0, None]):
    ...     means.add(("hour", "carrier"), x)
    >>> means.found()
    {'hour': 2.0}
    """

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = {}

    def add(self, names: Iterable[str], x: Iterable[Value]) -> None:
        """One more vector."""
        sums = self.sums
        for name, value in zip(names, x, strict=False):
            if isinstance(value, float | int):
                known = sums.setdefault(name, [0.0, 0.0])
                known[0] += value
                known[1] += 1.0

    def found(self) -> dict[str, float]:
        """The means."""
        return {name: total / many for name, (total, many) in self.sums.items()}
