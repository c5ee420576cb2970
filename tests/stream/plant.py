"""A plant whose machines are read every minute and fail now and then: labels that carry no event id, and their naive oracle."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from river import linear_model, preprocessing

from penstock import View, count
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.log.protocol import Out
from tests.stream.generated import MINUTE, START_MS

READ = Source("plant.read", id="reading", time="at", key="machine")
FAILED = Source("plant.failed", id="failure", time="failed_at", key="machine")
WITHIN_MS = 30 * MINUTE
BY_KEY = Label(FAILED, key=("site", "machine"), within="30m", absent=False)
#: Half an hour later it is hot, or not: a value of the same stream.
HOT_LATER = Label(
    READ, lambda e: None if e["heat"] is None else e["heat"] > 0, key=("site", "machine"), after="28m", within="4m",
    fields=("heat",),
)  # fmt: skip


def plant(**changes: Any) -> Pipeline:
    """Will this machine fail within half an hour? One task: the view is not keyed as its source."""
    given: dict[str, Any] = {
        "views": [View("site", READ, key="site", features={"read_1h": count("1h")})],
        "predict": READ,
        "inputs": ["heat", "flow"],
        "label": BY_KEY,
        "model": preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    }
    return Pipeline("plant", **{**given, **changes})


class Happened(NamedTuple):
    """One event of the plant; `heat` is that of a reading, None of a failure."""

    at: int
    id: str
    site: str
    machine: str
    heat: float | None

    @property
    def out(self) -> Out:
        """The record that its producer would append."""
        event: dict[str, Any] = {"site": self.site, "machine": self.machine}
        if self.heat is None:
            event |= {"failure": self.id, "failed_at": self.at}
            return Out(FAILED.name, self.machine.encode(), json.dumps(event).encode())
        event |= {"reading": self.id, "at": self.at, "heat": self.heat, "flow": -self.heat / 2}
        return Out(READ.name, self.machine.encode(), json.dumps(event).encode())


def happenings(number: int, seed: int = 1) -> Iterator[Happened]:
    """So many readings of eight machines at two sites, and their failures, in event-time order: a hot one fails soon."""
    chance = random.Random(seed)
    made: list[Happened] = []
    for n in range(number):
        at, machine = START_MS + n * MINUTE, chance.randrange(8)
        site, heat = f"s{machine % 2}", round(chance.gauss(0.0, 1.0), 3)
        # the same name at both sites
        made.append(Happened(at, f"r{n}", site, f"m{machine // 2}", heat))
        if chance.random() < (0.5 if heat > 0.8 else 0.02):
            soon = at + chance.randrange(1, 40 * MINUTE)
            made.append(Happened(soon, f"f{n}", site, f"m{machine // 2}", None))
    yield from sorted(made)


def outcomes(found: Sequence[Happened]) -> dict[str, bool]:
    """Each reading's label: whether its machine fails after it, and within half an hour."""
    failures = [(one.site, one.machine, one.at) for one in found if one.heat is None]
    return {
        one.id: any(
            (site, machine) == (one.site, one.machine) and one.at < at <= one.at + WITHIN_MS
            for site, machine, at in failures
        )
        for one in found
        if one.heat is not None
    }


def hot_later(found: Sequence[Happened]) -> dict[str, bool | None]:
    """Whether the first reading of the same machine from 28 to 32 minutes later is hot; None without one."""
    readings = [one for one in found if one.heat is not None]
    labels: dict[str, bool | None] = {}
    for one in readings:
        later = (
            other.heat > 0
            for other in readings
            if (other.site, other.machine) == (one.site, one.machine)
            and one.at + 28 * MINUTE <= other.at <= one.at + 32 * MINUTE
            and other.heat is not None
        )
        labels[one.id] = next(later, None)
    return labels
