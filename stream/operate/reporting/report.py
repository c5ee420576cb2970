"""A report: everything that its page shows, as data.

Laws of this file:
- Pure. It holds no clock's time: the same log and the same control topics give the same report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import numpy as np

from penstock.stream.messages import LiveModel
from penstock.stream.operate.reporting.course import Losses, Means, Weights, steps
from penstock.stream.operate.reporting.incidents import Cost, Incident, row, story
from penstock.stream.operate.reporting.moments import Moment, done_in
from penstock.stream.operate.reporting.shares import Shares
from penstock.stream.operate.svg import round_step

MOST_STEPS, LEAST_STEPS = 200, 12
LABELS_A_STEP = 50


@dataclass(frozen=True)
class Report:
    """A pipeline's history from `start` to `stop` (event times in ms), or one of its incidents, `of`, with what surrounds it.

    `positions` are the first and the next of the samples log that were folded. `costs` are by episode. `live` is what was live
    at the end of the range. `notes` say what a reader should know of the log.
    """

    pipeline: str
    topic: str
    positions: tuple[int, int]
    start: int
    stop: int
    of: Incident | None
    incidents: Sequence[Incident]
    costs: Mapping[str, Cost | None]
    losses: Losses = field(repr=False)
    weights: Sequence[Weights] = field(repr=False)
    shares: Sequence[Shares] = field(repr=False)
    moments: Sequence[Moment] = field(repr=False)
    live: LiveModel | None
    notes: Sequence[str]

    @property
    def step_ms(self) -> int:
        """How long the steps are that losses are averaged over."""
        labels = len(self.losses.within(self.start, self.stop).at)
        return round_step(self.stop - self.start, min(MOST_STEPS, max(labels // LABELS_A_STEP, LEAST_STEPS)))

    @property
    def means(self) -> list[Means]:
        """Mean losses, step by step."""
        first = self.start // self.step_ms * self.step_ms
        inside = self.losses.within(self.start, self.stop)
        return steps(inside, first, self.stop, self.step_ms)

    def whole(self) -> dict[str, float | int | None]:
        """Labels and mean losses of the whole range."""
        inside = self.losses.within(self.start, self.stop)
        said = inside.committed[~np.isnan(inside.committed)]
        if not len(inside.at):
            return {"labels": 0, "live": None, "base": None, "committed": None}
        return {
            "labels": len(inside.at),
            "live": float(inside.live.mean()),
            "base": float(inside.base.mean()),
            "committed": float(said.mean()) if len(said) else None,
        }

    def done(self, incident: Incident) -> list[Moment]:
        """What was decided and commanded because of an incident, and what was put in place by that."""
        return done_in(self.moments, incident.id)

    def story(self, incident: Incident) -> list[str]:
        """An incident in sentences."""
        return story(incident, self.costs.get(incident.id), self.done(incident))

    def as_json(self) -> dict[str, Any]:
        """The figures of the page, for programs."""
        return {
            "pipeline": self.pipeline,
            "samples_log": {"topic": self.topic, "from": self.positions[0], "to": self.positions[1]},
            "from": self.start,
            "to": self.stop,
            "episode": None if self.of is None else self.of.id,
            "whole": self.whole(),
            "step_ms": self.step_ms,
            "losses": [
                {name: None if isnan(value) else value for name, value in one._asdict().items()}
                for one in self.means
            ],
            "weights": [one._asdict() for one in self.weights],
            "incidents": [
                {**row(one, self.costs.get(one.id)), "story": self.story(one)} for one in self.incidents
            ],
            "shares": [one.row() for one in self.shares],
            "moments": [one._asdict() for one in self.moments],
            "live": None
            if self.live is None
            else {"version": self.live.version, "committed": self.live.committed, "why": self.live.why},
            "notes": list(self.notes),
        }
