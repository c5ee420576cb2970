"""The flights with wider samples: 15 inputs, 13 features, and two segment fields of 15 values each.

Laws of this file:
- What flights do not have is drawn at random with a fixed seed, from the same distributions all the time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from benchmarks.fold import FLIGHTS
from penstock import View, count
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import Entry, Recipe, Sample

INPUTS, FEATURES, VALUES = 15, 13, 15
SEED = 7


def wide_pipeline() -> Pipeline:
    """The definition of the flights with more inputs and features."""
    flights = load(FLIGHTS)
    more = [f"input_{number}" for number in range(len(flights.inputs), INPUTS)]
    missing = FEATURES - (len(flights.vector_names) - len(flights.inputs))
    beside = View(
        "beside", flights.predict, key="origin",
        features={f"leaving_{hours}h": count(f"{hours}h") for hours in range(2, 2 + missing)},
    )  # fmt: skip
    return replace(flights, inputs=[*flights.inputs, *more], views=[*flights.views, beside])


def widened(read: Sequence[tuple[int, Entry]], pipeline: Pipeline) -> Iterator[tuple[int, Entry]]:
    """The same records with samples for `pipeline`; recipes are left out, and no sample names one."""
    own = len(load(FLIGHTS).inputs)
    width, chance = len(pipeline.vector_names), random.Random(SEED)
    for position, entry in read:
        if isinstance(entry, Sample):
            drawn = [chance.gauss(0.0, 1.0) for _ in range(width - len(entry.x))]
            more, rest = drawn[: INPUTS - own], drawn[INPUTS - own :]
            segments = [f"value {chance.randrange(VALUES)}" for _ in pipeline.carried]
            x = [*entry.x[:own], *more, *entry.x[own:], *rest]
            yield position, msgspec.structs.replace(entry, x=x, segments=segments, recipe="")
        elif not isinstance(entry, Recipe):
            yield position, entry
