"""True or false: an answer is the probability of true, and the gate takes it as it is.

Laws of this file:
- The base predictor is the share of true labels, with a memory of about 500 labels.
- Nothing is turned into anything here: what was said, and what happened, is what the gate and the drift rules take.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from penstock.stream.learn.engine import learn, said
from penstock.stream.learn.gate import Gate, Mixture
from penstock.stream.learn.tasks.calibrated import calibrated
from penstock.stream.learn.tasks.task import W
from penstock.stream.task_kind import Kind

BASE_RATE = 0.002


class Binary:
    """See `Task`. It keeps nothing."""

    kind: Kind = "binary"
    at_once = False
    first_base = 0.5
    said = staticmethod(said)
    learn = staticmethod(learn)
    pack = struct.Struct("<qd").pack

    def fresh(self, model: Any) -> Any:
        """A clone, calibrated where it gives no probabilities."""
        return calibrated(model.clone())

    def knows(self, y: Any) -> bool:
        """True or false."""
        return type(y) is bool

    def mix(self, gate: Gate, said: Sequence[Any], base: float, boosted: Sequence[bool]) -> Mixture:
        """The gate's own mixture."""
        return gate.mix(said, base, boosted)

    def heard(self, waits: W, y: bool) -> tuple[W, bool]:
        """As it is."""
        return waits, y

    def follow(self, base: float, y: bool) -> float:
        """The share of true labels, the newest counting `BASE_RATE`."""
        return base + BASE_RATE * (y - base)

    def packed(self, position: int, p: float) -> bytes:
        """Position and bits."""
        return self.pack(position, p)

    def watched(self, p: float) -> float:
        """The probability."""
        return p

    def shown(self, p: float) -> tuple[Any, ...]:
        """The probability."""
        return (p,)

    def sums(self) -> dict[str, float]:
        """None."""
        return {}

    def measures(self) -> dict[str, float]:
        """None: log losses are counted for every task."""
        return {}
