"""Detectors that have no name here: river's others, and classes of one's own.

Laws of this file:
- What a fold cannot copy, store and make again from the same log is refused when the definition loads.
"""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

from river.base import BinaryDriftDetector

from penstock.monitors.series.detector import DriftDetector, parameters, text
from penstock.stream.detectors.monitor import Monitor


@dataclass(frozen=True)
class Detector(Monitor):
    """Any other detector: one of river's, or a class of one's own with `update(x)` and `drift_detected`.

    Args:
        detector: as it begins. Every fold takes a copy; this one is never changed.
    """

    detector: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one = self.detector
        if isinstance(one, type) or not isinstance(one, DriftDetector):
            called = f"the class {one.__name__}; call it" if isinstance(one, type) else repr(one)
            self.refuse(f"the detector must have update(x) and drift_detected, and is {called}")
        if hasattr(one, "seed") and one.seed is None:
            self.refuse("the detector draws by chance: give it a seed, or the same log gives other alarms")
        if isinstance(one, BinaryDriftDetector) and self.block is not None:
            self.refuse(f"{type(one).__name__} takes values of 0 and 1 as they come: say block=None")
        try:
            pickle.dumps(deepcopy(one))
        except Exception as error:
            self.refuse(f"the detector cannot be copied and stored ({type(error).__name__}: {error})")

    @property
    def kind(self) -> str:
        """The class of the detector."""
        return type(self).__name__ if self.detector is None else type(self.detector).__name__

    def make(self) -> DriftDetector:
        """A copy."""
        made: DriftDetector = deepcopy(self.detector)
        return made

    def params(self) -> dict[str, object]:
        """What the detector was made with."""
        return parameters(self.detector)

    def described(self) -> str:
        """With the detector's own text, which names no address."""
        options = {one.name: getattr(self, one.name) for one in fields(Monitor)}
        return f"{options} {text(self.detector)}"
