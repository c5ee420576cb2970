"""Concept drift on MOA's Bernoulli streams: alarms before the change, after it, and delay in events.

Abrupt: rate 0.2 to 0.8 at 1,000 of 1,999 events. Gradual: 0.2 to 2,000, then +0.001 an event to 3,000.
Published for MOA 2021.07, 30 seeds: ADWIN 0.00 / 2.87 / 46 and 0.00 / 12.1 / 280, OPTWIN 0.10 / 1.00 / 28.
A detector that alarms every hundred events is printed too, as the dummy any claim must beat.

Run: python -m benchmarks.drift_bernoulli [--seeds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN

from penstock.monitors.losses.adwin import AdwinRise
from penstock.monitors.losses.rates import RateRise

Detector = Callable[[float], bool]
STREAMS: dict[str, tuple[NDArray[np.float64], int]] = {
    "abrupt": (np.concatenate([np.full(1_000, 0.2), np.full(999, 0.8)]), 1_000),
    "gradual": (np.concatenate([np.full(2_000, 0.2), 0.2 + 0.001 * np.arange(1_000)]), 2_000),
}


def river_adwin() -> Detector:
    """ADWIN of river as it comes (clock 32, both directions)."""
    adwin = ADWIN()  # type: ignore[no-untyped-call]

    def update(value: float) -> bool:
        adwin.update(value)  # type: ignore[no-untyped-call]
        return bool(adwin.drift_detected)

    return update


def every_hundred() -> Detector:
    """The dummy: an alarm every hundred events."""
    seen = [0]

    def update(_: float) -> bool:
        seen[0] += 1
        return seen[0] % 100 == 0

    return update


def rate_rise() -> Detector:
    """This project's event-by-event detector."""
    test = RateRise()
    return lambda value: test.update(value) == "firing"


def adwin_rise() -> Detector:
    """This project's one-sided ADWIN."""
    witness = AdwinRise()
    return lambda value: witness.update(value) == "firing"


DETECTORS: dict[str, Callable[[], Detector]] = {
    "RateRise": rate_rise,
    "AdwinRise": adwin_rise,
    "river ADWIN": river_adwin,
    "every 100": every_hundred,
}


def measure(make: Callable[[], Detector], stream: str, seeds: range) -> dict[str, float]:
    """Alarms per run before and after the change, delay of the first after it, share of runs with one."""
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
    delay = float(np.mean(delays)) if delays else float("nan")
    return {"before": before / runs, "after": after / runs, "delay": delay, "found": len(delays) / runs}


def run(seeds: range) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by stream and detector."""
    return {
        stream: {name: measure(make, stream, seeds) for name, make in DETECTORS.items()} for stream in STREAMS
    }


def main() -> None:
    """Print the table, or write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = run(range(options.first_seed, options.first_seed + options.seeds))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    for stream, rows in figures.items():
        print(f"{stream}: alarms before / after / delay / found")
        for name, row in rows.items():
            cells = " / ".join(f"{row[key]:.3f}" for key in ("before", "after", "delay", "found"))
            print(f"  {name:12} {cells}")


if __name__ == "__main__":
    main()
