"""What every entry of `Pipeline(monitors=[...])` says.

Laws of this file:
- An entry is plain data; each fold makes a detector of its own from it. It changes no sample, so no recipe.
- A detector is given block means in units of their noise (`monitors.series.noise_units`), unless the definition wants otherwise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Literal

from penstock.monitors.series.course import Course
from penstock.monitors.series.detector import DriftDetector
from penstock.monitors.series.monitor import Watched, own_figures
from penstock.stream.definition_error import DefinitionError

BLOCK_VALUES = 125
LOSS, ERROR, PREDICTION = "loss", "error", "prediction"
OF_LABELS = frozenset({LOSS, ERROR})
SERIES = (LOSS, ERROR, PREDICTION)


@dataclass(frozen=True)
class Monitor(ABC):
    """What every entry says beside its own parameters.

    Args:
        on: the series: "loss" (nats of the live prediction), "error" (0 or 1 where classes are predicted, the absolute error
            where numbers are), "prediction", or an input's or feature's name.
        block: so many values make one for the detector: their mean, in units of the noise of such means. None gives the detector
            the values as they come.
        quiet: updates of the detector without an alarm that end an episode; by default 24 blocks, or 500 values.
        rises: whether only a rise is told; by default of "loss" and "error".
        tell: "note", or "warn" for a warning.
        name: what it is called in events, where the detector's own name does not tell two apart.
    """

    on: str
    _: KW_ONLY
    block: int | None = BLOCK_VALUES
    quiet: int | None = None
    rises: bool | None = None
    tell: Literal["note", "warn"] = "note"
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.on, str) or not self.on:
            self.refuse(
                'the first argument names the series, such as "loss", "error", "prediction" or an input'
            )
        for what, least in (("block", 1), ("quiet", 1)):
            found = getattr(self, what)
            if found is not None and (isinstance(found, bool) or not isinstance(found, int) or found < least):
                self.refuse(f"{what} must be a whole number above 0, or None, not {found!r}")
        if self.rises not in (None, True, False):
            self.refuse(f"rises must be True or False, not {self.rises!r}")
        if self.tell not in ("note", "warn"):
            self.refuse(f'tell must be "note" or "warn", not {self.tell!r}')
        if not isinstance(self.name, str) or (self.name and not self.name.replace("-", "_").isidentifier()):
            self.refuse(f"name must be of letters, digits, '_' and '-', not {self.name!r}")

    def refuse(self, why: str) -> None:
        """Raise a `DefinitionError` that names this entry."""
        raise DefinitionError(f"{self.kind}({self.on!r}): {why}")

    def between(self, what: str, low: float, high: float) -> None:
        """Refuse a parameter that does not lie strictly between these."""
        found = getattr(self, what)
        if isinstance(found, bool) or not isinstance(found, int | float) or not low < found < high:
            bound = f"above {low:g}" + (f" and below {high:g}" if high < math.inf else "")
            self.refuse(f"{what} must be {bound}, not {found!r}")

    def whole(self, what: str, least: int) -> None:
        """Refuse a parameter that is no whole number of at least this."""
        found = getattr(self, what)
        if isinstance(found, bool) or not isinstance(found, int) or found < least:
            self.refuse(f"{what} must be a whole number of at least {least}, not {found!r}")

    @property
    def kind(self) -> str:
        """The detector's name."""
        return type(self).__name__

    @property
    def shown(self) -> str:
        """What it is called in events."""
        return self.name or self.kind

    @abstractmethod
    def make(self) -> DriftDetector:
        """A detector that knows nothing."""

    def figures(self, detector: Any, course: Course) -> tuple[float, float]:
        """Statistic and threshold at an alarm."""
        return own_figures(detector, course)

    def params(self) -> dict[str, object]:
        """The detector's own parameters, for events."""
        general = {one.name for one in fields(Monitor)}
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in general}

    def watched(self) -> Watched:
        """What a `SeriesMonitor` must know."""
        rises = self.on in OF_LABELS if self.rises is None else self.rises
        return Watched(self.shown, self.on, self.block, self.quiet, rises, self.figures, self.params())

    def described(self) -> str:
        """The entry as text that is the same in every process."""
        return repr(self)
