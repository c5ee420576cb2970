"""Drift detectors on MOA's Bernoulli streams: alarms before and after the change, and the delay at a measured run length.

Abrupt: rate 0.2 to 0.8 at 1,000 of 1,999 events. Gradual: 0.2 to 2,000, then +0.001 an event to 3,000. The curve: each detector
at several thresholds, its mean run length to a false alarm on streams at 0.2 (ARL0), and its delays beside it.
Ours are run as a role runs them: alarms of one change are one episode, and only rises count. A detector that alarms every hundred
events, and one that always does, are the dummies that any claim must beat.

Published for MOA 2021.07, 30 seeds: ADWIN 0.00 / 2.87 / 46 and 0.00 / 12.1 / 280, DDM 0.20 / 1.00 / 65 and 0.30 / 2.6 / 365,
EDDM 3.47 / 4.10 / 27 and 6.33 / 7.9 / 148, OPTWIN 0.10 / 1.00 / 28 and 0.10 / 2.4 / 279.

Run: python -m benchmarks.drift [--only NAME] [--seeds N] [--curve-seeds N] [--json [FILE]]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift
from river.drift import binary

from benchmarks.written import write
from penstock import Adwin, Detector, Kswin, PageHinkley, RateRise
from penstock.monitors.series.monitor import SeriesMonitor

Detect = Callable[[float], bool]
"""One detector on one stream: whether this value is an alarm."""
STREAMS: dict[str, tuple[NDArray[np.float64], int]] = {
    "abrupt": (np.concatenate([np.full(1_000, 0.2), np.full(999, 0.8)]), 1_000),
    "gradual": (np.concatenate([np.full(2_000, 0.2), 0.2 + 0.001 * np.arange(1_000)]), 2_000),
}
STATIONARY_RATE = 0.2
STATIONARY_EVENTS = 20_000


def river(detector: Any) -> Detect:
    """One of river's as it comes, in both directions, every alarm counted."""

    def update(value: float) -> bool:
        detector.update(value)
        return bool(detector.drift_detected)

    return update


def ours(word: Any) -> Detect:
    """An entry of `Pipeline(monitors=[...])` as the learn role runs it."""
    monitor = SeriesMonitor(word.watched(), word.make())
    step = iter(range(1 << 62))

    def update(value: float) -> bool:
        at = next(step)
        return any(heard.transition.state == "firing" for heard in monitor.update(at, at, value))

    return update


def every(events: int) -> Detect:
    """The dummy: an alarm at every so many events."""
    seen = [0]

    def update(_: float) -> bool:
        seen[0] += 1
        return seen[0] % events == 0

    return update


@dataclass(frozen=True)
class Contender:
    """A detector, at its own threshold and at those of its curve, by what they are called."""

    name: str
    make: Callable[[], Detect]
    curve: dict[str, Callable[[], Detect]]


def of_words(name: str, word: Callable[..., Any], parameter: str, values: Sequence[float]) -> Contender:
    """One of ours, value by value."""
    curve = {f"{parameter}={value:g}": partial(_ours, word, parameter, value) for value in values}
    return Contender(name, lambda: ours(word()), curve)


def _ours(word: Callable[..., Any], parameter: str, value: float) -> Detect:
    return ours(word(**{parameter: value}))


def of_river(name: str, kind: Callable[..., Any], parameter: str, values: Sequence[float]) -> Contender:
    """One of river's."""
    curve = {f"{parameter}={value:g}": partial(_river, kind, parameter, value) for value in values}
    return Contender(name, lambda: river(kind()), curve)


def _river(kind: Callable[..., Any], parameter: str, value: float) -> Detect:
    return river(kind(**{parameter: value}))


def contenders() -> Iterator[Contender]:
    """Ours, river's, and the dummies."""
    deltas = (0.0002, 0.002, 0.02, 0.1)
    yield of_words("RateRise", partial(RateRise, "error"), "threshold", (1e3, 5e3, 2e4, 1e5))
    yield of_words("Adwin", partial(Adwin, "error", block=None), "delta", deltas)
    page_hinkley = partial(PageHinkley, "error", block=None, delta=0.2, threshold=8.0)
    yield of_words("PageHinkley", page_hinkley, "threshold", (4.0, 8.0, 12.0))
    yield of_words("Kswin", partial(Kswin, "error", block=None), "alpha", (1e-5, 1e-4, 1e-3))
    yield of_words("Detector of HDDM_W", _hddm_w_of_ours, "drift_confidence", (1e-5, 1e-4, 1e-3))
    yield of_river("river ADWIN", drift.ADWIN, "delta", deltas)
    yield of_river("river PageHinkley", drift.PageHinkley, "threshold", (5.0, 10.0, 20.0, 50.0))
    yield of_river("river KSWIN", partial(drift.KSWIN, seed=1), "alpha", (1e-5, 1e-4, 5e-3))
    yield of_river("river DDM", binary.DDM, "drift_threshold", (2.5, 3.0, 4.0, 5.0))
    yield of_river("river EDDM", binary.EDDM, "beta", (0.8, 0.9, 0.95))
    yield of_river("river HDDM_A", binary.HDDMA, "drift_confidence", (1e-5, 1e-4, 1e-3, 1e-2))
    yield of_river("river HDDM_W", binary.HDDMW, "drift_confidence", (1e-5, 1e-4, 1e-3, 1e-2))
    yield Contender("every 100", lambda: every(100), {"1000": lambda: every(1_000)})
    yield Contender("always", lambda: every(1), {})


def _hddm_w_of_ours(drift_confidence: float = 1e-4) -> Detector:
    return Detector("error", binary.HDDMW(drift_confidence=drift_confidence), block=None)


@dataclass(frozen=True)
class Found:
    """Alarms a run before and after the change, mean delay of the first after it, the share of runs with one."""

    before: float
    after: float
    delay: float | None
    found: float


def measure(make: Callable[[], Detect], stream: str, seeds: range) -> Found:
    """One detector on one stream."""
    rate, change = STREAMS[stream]
    before, after, delays = 0, 0, []
    for seed in seeds:
        detect = make()
        values = (np.random.default_rng(seed).random(len(rate)) < rate).astype(float).tolist()
        steps = [step for step, value in enumerate(values) if detect(value)]
        late = [step - change for step in steps if step >= change]
        before += len(steps) - len(late)
        after += len(late)
        delays += late[:1]
    runs = len(seeds)
    return Found(before / runs, after / runs, float(np.mean(delays)) if delays else None, len(delays) / runs)


def run_length(make: Callable[[], Detect], seeds: range) -> tuple[float, bool]:
    """Mean events to the first false alarm, at least; and whether any run was cut off without one, so that it is only a bound.

    As many events as there were, by as many first alarms: the estimate for run lengths without memory, of which some are cut off.
    """
    events = alarms = 0
    for seed in seeds:
        detect = make()
        values = np.random.default_rng(seed).random(STATIONARY_EVENTS) < STATIONARY_RATE
        first = next(
            (step for step, value in enumerate(values.astype(float).tolist(), 1) if detect(value)), None
        )
        events += first or STATIONARY_EVENTS
        alarms += first is not None
    return events / max(alarms, 1), not alarms


def fewer(one: Contender, seeds: range) -> range:
    """A tenth of the runs for KSWIN, which costs hundreds of times as much as the others."""
    return seeds[: max(len(seeds) // 10, 1)] if "swin" in one.name.lower() else seeds


def rows(seeds: range, chosen: Sequence[Contender]) -> Iterator[dict[str, Any]]:
    """Every contender at its own threshold."""
    for one in chosen:
        few = fewer(one, seeds)
        for stream in STREAMS:
            found = asdict(measure(one.make, stream, few))
            yield {"detector": one.name, "stream": stream, "runs": len(few), **found}


def curves(seeds: range, chosen: Sequence[Contender]) -> Iterator[dict[str, Any]]:
    """Every contender at its thresholds: the run length to a false alarm, and the delays."""
    for one in chosen:
        few = fewer(one, seeds)
        for called, make in one.curve.items():
            length, unbounded = run_length(make, few)
            delays = {stream: measure(make, stream, few).delay for stream in STREAMS}
            yield {
                "detector": one.name,
                "at": called,
                "run_length": length,
                "only_a_bound": unbounded,
                **delays,
            }


def shown(value: float | None, digits: int = 2) -> str:
    """A figure of a table."""
    return "-".rjust(8) if value is None else f"{value:8,.{digits}f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="only this detector; may be repeated")
    parser.add_argument("--seeds", type=int, default=300, help="runs of each detector and stream (300)")
    parser.add_argument("--first-seed", type=int, default=1_000, help="the seed of the first run (1000)")
    parser.add_argument(
        "--curve-seeds", type=int, default=50, help="runs of each point of the curve; 0 leaves it out (50)"
    )
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the figures as JSON, too; without FILE to standard output, and the tables to standard error",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    chosen = [one for one in contenders() if one.name in (args.only or [one.name])]
    told = sys.stderr if args.json == "-" else sys.stdout
    figures: dict[str, list[dict[str, Any]]] = {"rows": [], "curves": []}
    print("                                  before    after    delay    found", file=told)
    for row in rows(range(args.first_seed, args.first_seed + args.seeds), chosen):
        figures["rows"].append(row)
        numbers = "".join(
            shown(row[key], digits) + " "
            for key, digits in (("before", 3), ("after", 2), ("delay", 1), ("found", 2))
        )
        print(f"{row['stream']:8} {row['detector']:22} {numbers}", file=told, flush=True)
    if args.curve_seeds:
        print("\n                                         run length   abrupt  gradual", file=told)
        seeds = range(args.first_seed, args.first_seed + args.curve_seeds)
        for row in curves(seeds, chosen):
            figures["curves"].append(row)
            least = ">" if row["only_a_bound"] else " "
            numbers = shown(row["abrupt"], 1) + " " + shown(row["gradual"], 1)
            print(
                f"{row['detector']:22} {row['at']:20} {least}{row['run_length']:9,.0f} {numbers}",
                file=told,
                flush=True,
            )
    write(figures, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
