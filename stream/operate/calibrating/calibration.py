"""A calibration: what there would have been at each budget, beside naive detectors, and what that suggests.

Laws of this file:
- Plain data. The same history gives the same calibration, but for the seconds it took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from penstock.stream.operate.calibrating.advice import Advice, Stream
from penstock.stream.operate.calibrating.tallies import FAMILIES, Row

YEAR_DAYS = 365.25


@dataclass(frozen=True)
class Naive:
    """What naive detectors said: alarms of ADWIN on every loss, and days (of `days` judged) with an input's PSI above 0.25.

    `psi_alarms` are such days by input, `psi_days` those of any.
    """

    adwin_alarms: int
    psi_days: int
    days: int
    psi_alarms: Mapping[str, int]


@dataclass(frozen=True)
class Calibration:
    """The incidents of [start, stop) (event times in ms) by budget, what they were worth, and settings with their reasons.

    `live` and `base` are mean losses in nats a label at the least budget, None without labels; `margin` is the least difference
    worth acting on. `seconds` is what the fold of each budget took.
    """

    pipeline: str
    start: int
    stop: int
    stream: Stream
    live: float | None
    base: float | None
    margin: float
    budgets: Sequence[float]
    rows: Sequence[Row]
    naive: Naive
    advice: Sequence[Advice]
    notes: Sequence[str]
    seconds: Mapping[float, float]

    def tally(self, budget: float) -> dict[str, int]:
        """How many alarms of each family there would have been."""
        count = Counter(row.family for row in self.rows if budget in row.budgets)
        return {family: count[family] for family in FAMILIES}

    def by_chance(self, budget: float) -> float:
        """How many there are of each family on average, at most, where nothing ever changes."""
        return budget * self.stream.days / YEAR_DAYS

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "pipeline": self.pipeline,
            "from": self.start,
            "to": self.stop,
            "stream": self.stream._asdict(),
            "live_loss": self.live,
            "base_loss": self.base,
            "margin": self.margin,
            "budgets": [
                {"alarms_per_year": budget, "by_chance": self.by_chance(budget), **self.tally(budget)}
                for budget in self.budgets
            ],
            "incidents": [row.row() for row in self.rows],
            "naive": asdict(self.naive),
            "advice": [one._asdict() for one in self.advice],
            "notes": list(self.notes),
            "seconds": {f"{budget:g}": round(took_s, 3) for budget, took_s in self.seconds.items()},
        }
