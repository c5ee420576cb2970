"""The year of flights for `benchmarks.gate`: the samples log of each incident, kept in a folder if one is given.

Laws of this file:
- The samples are those that featurize makes. The recipe is left out: the same samples serve every model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.fold import FLIGHTS, samples_log
from benchmarks.gate_streams import Opened, Stream, lessons
from penstock.examples.flights_data import INCIDENT_DAYS, INCIDENTS, Incident, new_york_ms
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import Entry, Recipe, Sample

NAME = "flights-"
CLEAN = f"{NAME}none"
# The last flights of the year left after midnight, and landed a day later.
YEAR_DAYS = 367
WEEK_MS = 7 * 86_400_000


def flights(cache: Path | None, rows: int = 0, days: int = YEAR_DAYS) -> list[Stream]:
    """The year with each incident. `rows` above 0 ends it after that many departures."""

    def stream(incident: Incident) -> Stream:
        return Stream(f"{NAME}{incident}", lambda: opened_flights(incident, cache, rows, days))

    return [stream(incident) for incident in INCIDENTS]


def opened_flights(incident: Incident, cache: Path | None, rows: int, days: int) -> Opened:
    """Read the year's first `days` with this incident."""
    read = kept(incident, cache, days)
    if rows:
        numbers = [place for place, entry in enumerate(read) if isinstance(entry, Sample)]
        read = read[: numbers[rows]] if rows < len(numbers) else read
    at = [entry.at for entry in read if isinstance(entry, Sample)]
    truth: list[bool | None] = [None] * len(at)
    for number, y in lessons(read, load(FLIGHTS).label.wait_ms):
        if y is not None:
            truth[number] = y
    return Opened(read, truth, at, [], flights_with)


def flights_with(model: Any) -> Pipeline:
    """The example's definition with another model."""
    return replace(load(FLIGHTS), model=model)


def kept(incident: Incident, cache: Path | None, days: int, definition: Path = FLIGHTS) -> list[Entry]:
    """The entries from the cache, or made and put there. Empty the cache when what featurize computes has changed."""
    if cache is None:
        return made(incident, days, definition)
    path = cache / f"flights-{incident}-{days}d-{load(definition).digest}.msgpack"
    if path.is_file():
        return msgspec.msgpack.decode(path.read_bytes(), type=list[Entry])
    entries = made(incident, days, definition)
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(msgspec.msgpack.encode(entries))
    unfinished.replace(path)
    return entries


def made(incident: Incident, days: int, definition: Path = FLIGHTS) -> list[Entry]:
    """What featurize makes of the flights, without the recipe, and no sample naming one."""
    return [
        msgspec.structs.replace(entry, recipe="") if isinstance(entry, Sample) else entry
        for _, entry in samples_log(days, incident, definition)
        if not isinstance(entry, Recipe)
    ]


def around_incident(losses: npt.NDArray[np.float64], opened: Opened) -> tuple[float, float]:
    """Mean loss of the samples of the incident's week, and of the four weeks after it; NaN where there are none."""
    start = new_york_ms(INCIDENT_DAYS[0])
    known = np.array([y is not None for y in opened.truth], np.bool_)
    at = np.array(opened.at, np.int64)[known]
    ends = [start, start + WEEK_MS, start + 5 * WEEK_MS]
    inside = [losses[(at >= first) & (at < last)] for first, last in zip(ends, ends[1:], strict=False)]
    week, after = (float(part.mean()) if len(part) else float("nan") for part in inside)
    return week, after
