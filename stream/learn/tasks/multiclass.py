"""One of several classes: an answer is a probability for each class that is known, by its name.

Laws of this file:
- A class is text here: a whole number is written as such, true and false in lower case. Models learn that text: 1 and true
  are two classes, as they are in a label, and not one, as they are to Python.
- An answer adds up to 1. A model that knows no class yet says the same of all that labels have named.
- The base predictor says how frequent each class was lately; a class that was not seen for about 7,000 labels is forgotten by it.
- The likelihood of a label is the probability of its class, 0 where the model did not know it; the gate keeps that from 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import fsum, isfinite
from typing import Any

from penstock.stream.learn.gate import Gate, Mixture, least_probability
from penstock.stream.learn.tasks.calibrated import calibrated
from penstock.stream.learn.tasks.likelihoods import copied, heard, moment, pack, parts
from penstock.stream.learn.tasks.measures import Confusion
from penstock.stream.learn.tasks.task import W
from penstock.stream.task_kind import Kind

RATE = 0.002
FORGOTTEN = 1e-6
_ROUNDING = 1e-6  # how far below 0 rounding may put a probability

Classes = Mapping[str, float]


def text(y: Any) -> str:
    """The name of a class.

    >>> text("late"), text(7), text(True)
    ('late', '7', 'true')
    """
    return y if type(y) is str else ("true" if y else "false") if isinstance(y, bool) else str(y)


def most_probable(classes: Classes) -> str | None:
    """The class with most of the probability, of several the first by name; None where no class is known."""
    return min(classes, key=lambda name: (-classes[name], name), default=None)


class Multiclass:
    """See `Task`. It keeps the classes that the base predictor knows, and what its measures need."""

    kind: Kind = "multiclass"
    at_once = False
    first_base: Classes = {}

    def __init__(self) -> None:
        self.known: tuple[str, ...] = ()
        self.confusion = Confusion()

    def fresh(self, model: Any) -> Any:
        """A clone, calibrated where it gives no probabilities."""
        return calibrated(model.clone())

    def said(self, model: Any, x: dict[str, Any]) -> Classes | None:
        """The model's probabilities, made to add up to 1; None when it raises, or they are none."""
        try:
            given = model.predict_proba_one(x)
            # Exact, so the same in whatever order a restored model names its classes.
            total = fsum(given.values())
            for p in given.values():
                if not p >= -_ROUNDING:
                    return None
            if total > 0.0 and isfinite(total):
                return {text(name): max(float(p), 0.0) / total for name, p in given.items()}
        except Exception:
            return None
        return None if total else dict.fromkeys(self.known, 1.0 / max(len(self.known), 1))

    def knows(self, y: Any) -> bool:
        """Text, a whole number, true or false."""
        return type(y) in (str, int, bool)

    def learn(self, model: Any, x: dict[str, Any], y: Any) -> bool:
        """One `learn_one` with the class's name; False when the model raised."""
        try:
            model.learn_one(x, text(y))
        except Exception:
            return False
        return True

    def mix(self, gate: Gate, said: Sequence[Any], base: Classes, boosted: Sequence[bool]) -> Mixture:
        """The weighted mean of every class's probability."""
        weights = copied(gate)
        mixed: dict[str, float] = {}
        for part, one in zip(parts(weights, said, boosted), said, strict=True):
            for name, p in one.items() if one is not None and part > 0.0 else ():
                mixed[name] = mixed.get(name, 0.0) + part * p
        return moment(mixed, weights, least_probability(min(base.values(), default=0.5)), boosted)

    def heard(self, waits: W, y: Any) -> tuple[W, bool]:
        """The probability that each gave to the class that came."""
        name = text(y)
        self.confusion.add(name, most_probable(waits.p), most_probable(waits.base))
        return heard(waits, lambda classes: float(classes.get(name, 0.0)))

    def follow(self, base: Classes, y: Any) -> Classes:
        """How frequent each class was lately, with a memory of about 500 labels."""
        name, rate = text(y), max(RATE, 1.0 / max(self.confusion.labels, 1))
        found = {one: share * (1.0 - rate) for one, share in base.items() if share > FORGOTTEN}
        found[name] = found.get(name, 0.0) + rate
        if name not in base or len(found) != len(base):
            self.known = tuple(found)
        return found

    def packed(self, position: int, p: Classes) -> bytes:
        """Position, and a digest of names and bits."""
        made = hashlib.blake2b(digest_size=16)
        for name in sorted(p):
            made.update(name.encode("utf-8", "surrogatepass") + pack(0, p[name]))
        return pack(position, max(p.values(), default=0.0)) + made.digest()

    def watched(self, p: Classes) -> float:
        """The probability of the most probable class."""
        return max(p.values(), default=0.0)

    def shown(self, p: Classes) -> tuple[Any, ...]:
        """The most probable class, and the probability of each."""
        return most_probable(p), dict(p)

    def sums(self) -> dict[str, float]:
        """How often the live prediction and the base predictor were right."""
        right = float(sum(self.confusion.right.values()))
        return {"accuracy": right, "base_accuracy": float(self.confusion.base_right)}

    def measures(self) -> dict[str, float]:
        """Accuracy, macro F1, Cohen's kappa and the base predictor's accuracy."""
        return self.confusion.measures()
