"""The streams of `benchmarks.run_lengths`: nothing changes in any of them.

Laws of this file:
- The same kind, seed and length give the same stream.
- An AR(1) noise of correlation length n has correlation exp(-1/n) from one label to the next, and variance 1 before scaling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from benchmarks.gate_streams import START_MS, Row
from penstock.monitors.losses.drift import LossConfig, LossMonitor, log_loss
from penstock.monitors.losses.rate_of_labels import YEAR_MS
from penstock.stream.learn.births import LEAD_EVERY
from penstock.stream.learn.experts import BASE_WEIGHT, LEADS_AT
from penstock.stream.learn.fold import JUDGED_LABELS, LEADS
from penstock.stream.learn.gate import Gate
from penstock.stream.learn.lasting import Lasting
from penstock.stream.learn.learner import BASE_RATE

Floats = NDArray[np.float64]

KINDS = ("iid", "ar log odds", "ar inputs", "t3 inputs")
LENGTHS = (10, 100, 1_000)
INPUTS = 4
LEAST_RATE, MOST_RATE = 100_000, 350_000
HIDDEN = 0.7
"""Standard deviation of what moves the log odds and no input shows."""

APART = (0.0, 0.15, 0.3)
"""Standard deviation of each simulated expert's own error in the log odds."""
SIMULATED = tuple(f"{length or 'iid':>4} apart {apart}" for length in (0, *LENGTHS) for apart in APART)
EXPERTS = 5
OWN_LENGTH = 500
CHUNK_LABELS = 20_000


def ar(rng: np.random.Generator, number: int, length: int, last: Floats | None = None) -> Floats:
    """So many steps of AR(1) noise, one row each, independent columns; `last` is the row before the first."""
    columns = 1 if last is None else len(last)
    if not length:
        return rng.standard_normal((number, columns))
    rho = math.exp(-1.0 / length)
    start = rng.standard_normal(columns) if last is None else last
    shocks = rng.standard_normal((number, columns)) * math.sqrt(1.0 - rho * rho)
    made, _ = lfilter([1.0], [1.0, -rho], shocks, axis=0, zi=(rho * start)[None, :])
    return np.asarray(made, np.float64)


def logistic(odds: Floats) -> Floats:
    """Probabilities of log odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -40.0, 40.0))), np.float64)


def stationary(kind: str, seed: int, labels: int) -> tuple[list[Row], float]:
    """The rows of one stream, and how many labels it has a year."""
    rng = np.random.default_rng((KINDS.index(kind), seed))
    per_year = float(rng.integers(LEAST_RATE, MOST_RATE))
    length = LENGTHS[seed % len(LENGTHS)]
    weights = rng.standard_normal(INPUTS)
    offset = rng.normal(0.0, 0.7)
    x = rng.standard_normal((labels, INPUTS))
    if kind == "t3 inputs":
        x = rng.standard_t(3, (labels, INPUTS))
    elif kind == "ar inputs":
        x = ar(rng, labels, length, rng.standard_normal(INPUTS))
    odds = offset + x @ weights
    if kind == "ar log odds":
        odds = odds + HIDDEN * ar(rng, labels, length)[:, 0]
    truth = rng.random(labels) < logistic(odds)
    step_ms = YEAR_MS / per_year
    rows = [
        Row({f"x{place}": value for place, value in enumerate(values)}, y, START_MS + round(number * step_ms))
        for number, (values, y) in enumerate(zip(x.tolist(), truth.tolist(), strict=True))
    ]
    return rows, per_year


# -- simulated experts ---------------------------------------------------------------------------------------------------------


@dataclass
class Simulated:
    """What came of simulated years: as `run_lengths.Told` has it."""

    labels: int = 0
    changes: int = 0
    retrains: int = 0
    adwin: int = 0
    fired: int = 0
    leads: int = 0
    gap: float = 0.0


class _Made(NamedTuple):
    said: list[list[float]]
    truth: list[bool]


def _made(rng: np.random.Generator, labels: int, length: int, apart: float) -> Iterator[_Made]:
    """Chunks of what each expert says, and of what is true."""
    hidden, own = rng.standard_normal(1), rng.standard_normal(EXPERTS)
    while labels > 0:
        number = min(labels, CHUNK_LABELS)
        labels -= number
        seen = -0.8 + 1.2 * rng.standard_normal(number)
        noise, errors = ar(rng, number, length, hidden), ar(rng, number, OWN_LENGTH, own)
        hidden, own = noise[-1], errors[-1]
        truth = rng.random(number) < logistic(seen + HIDDEN * noise[:, 0])
        yield _Made(logistic(seen[:, None] + apart * errors).tolist(), truth.tolist())


def simulated(kind: str, seed: int, years: float) -> Simulated:
    """Experts of equal skill, each with an error of its own that wanders over 500 labels, the first of them committed.

    As in the fold, another one is committed once the `lead` test fires, and the one with most of the weight is better by itself.
    """
    named, _, apart = kind.partition(" apart ")
    length = 0 if named.strip() == "iid" else int(named)
    rng = np.random.default_rng((SIMULATED.index(kind), seed))
    per_year = float(rng.integers(LEAST_RATE, MOST_RATE))
    step_ms, found = YEAR_MS / per_year, Simulated(labels=round(years * per_year))
    monitor, gate, base = LossMonitor(LossConfig()), Gate(), 0.5
    for _ in range(EXPERTS + 1):
        gate.add(1.0 / (EXPERTS + 1))
    gate.give(0, BASE_WEIGHT)
    committed = leader = challenger = 1
    wanted, deserved, number, gap_sum = False, False, 0, 0.0
    lasting: Lasting | None = None
    lost = dict.fromkeys(range(1, EXPERTS + 1), 0.0)
    for chunk in _made(rng, found.labels, length, float(apart)):
        for own, y in zip(chunk.said, chunk.truth, strict=True):
            answers = [base, *own]
            mixture = gate.mix(answers, base)
            gate.charge(answers, mixture, y)
            live = log_loss(mixture.p, y)
            alone = log_loss(answers[committed], y)
            lost = {place: lost[place] + log_loss(answers[place], y) for place in lost}
            at_ms = START_MS + round(number * step_ms)
            for one in monitor.update(at_ms, number, live, log_loss(base, y), (alone, live)):
                wanted = one.state == "firing" if one.monitor == "lead" else wanted
                _count(found, one.monitor, one.state)
            base += BASE_RATE * (y - base)
            number += 1
            gap_sum += alone - log_loss(answers[leader], y)
            if number % LEAD_EVERY == 0:
                weights = gate.totals()
                top = max(range(1, len(weights)), key=weights.__getitem__)
                found.leads += weights[top] > LEADS_AT and top != leader
                leader = top if weights[top] > LEADS_AT else leader
                challenger = max(set(range(1, len(weights))) - {committed}, key=weights.__getitem__)
                outweighed = weights[challenger] >= LEADS
                if not wanted:
                    lasting = None
                elif number % (4 * JUDGED_LABELS) == 0:
                    lasting = lasting or Lasting(monitor.lead.gained()[1], number, lost)
                    gain = lasting.gain(challenger, committed, number, lost)
                    deserved = outweighed and gain is not None and gain >= monitor.margin
                if wanted and deserved:
                    found.changes += 1
                    committed, wanted, deserved, lasting = challenger, False, False, None
                    monitor.committed_changed(at_ms, number, "another is committed")
    found.gap = gap_sum / number / monitor.margin if number and monitor.margin > 0 else 0.0
    return found


def _count(found: Simulated, monitor: str, state: str) -> None:
    if state == "firing":
        found.retrains += monitor == "harm"
        found.adwin += monitor == "adwin"
        found.fired += monitor == "lead"
