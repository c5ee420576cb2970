"""The PSI test: how often it alarms where nothing changes, beside the nominal share, and how often where something does.

Five shapes of a feature, windows of 50 to 100,000 samples, 2 to 50 features, and AR(1) dependence of correlation length 10 to
1,000; then shifts of 0.1, 0.25 and 0.5 standard deviations. Beside it the fixed thresholds 0.1 and 0.25 on the same windows.
What is run is what the learn role runs, on the same bins: `Histogram` learned from a first window, and each later window judged
against the 28 before it (`judge`).

Run: python -m benchmarks.psi [--windows N] [--json [FILE]]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr
from scipy.stats import t as student

from benchmarks.written import write
from penstock.monitors.inputs.histogram import Counts, Histogram, Value, merge_bins
from penstock.monitors.inputs.psi import LEAST_ROWS, bins_of
from penstock.monitors.inputs.stability import judge

Floats = NDArray[np.float64]
REFERENCE_WINDOWS = 28
BINS = 10
ALPHAS = (0.05, 0.01)
FIXED = (0.1, 0.25)
SIZES = (50, 200, 1_000, 10_000, 100_000)
FEATURES = (2, 10, 50)
LENGTHS = (10, 100, 1_000)
SHIFTS = (0.1, 0.25, 0.5)
FAMILY_ALPHA = 0.05
CATEGORIES = [f"c{number}" for number in range(12)]
POPULATION = 100_000
"""Samples that the shares of a shape's bins are taken from."""

CATEGORY_SHARES = np.cumsum(1.0 / np.arange(1, len(CATEGORIES) + 1))


def _categories(u: Floats) -> list[Value]:
    places = np.searchsorted(CATEGORY_SHARES / CATEGORY_SHARES[-1], u)
    return [CATEGORIES[place] for place in np.minimum(places, len(CATEGORIES) - 1).tolist()]


def _point_mass(z: Floats) -> Floats:
    """Zero in seven of ten, else exponential."""
    u = ndtr(z)
    return np.where(u < 0.7, 0.0, -np.log(np.maximum((1.0 - u) / 0.3, 1e-12)))


SHAPES: dict[str, Callable[[Floats], Any]] = {
    "normal": lambda z: z,
    "heavy tail": lambda z: student.ppf(ndtr(z), 2),
    "lognormal": lambda z: np.exp(1.5 * z),
    "point mass": _point_mass,
    "categories": lambda z: _categories(ndtr(z)),
}
"""Each from a standard normal: so a shift, and dependence, is one of that."""


def ar(rng: np.random.Generator, number: int, length: int) -> Floats:
    """AR(1) noise of variance 1 and this correlation length; independent for 0."""
    shocks = rng.standard_normal(number)
    if not length:
        return shocks
    rho = math.exp(-1.0 / length)
    made, _ = lfilter(
        [1.0], [1.0, -rho], shocks * math.sqrt(1.0 - rho * rho), zi=[rho * rng.standard_normal()]
    )
    return np.asarray(made, np.float64)


def column(shape: str, z: Floats) -> list[Value]:
    """The values of a feature."""
    made = SHAPES[shape](z)
    return made if isinstance(made, list) else made.tolist()


class Judged(NamedTuple):
    """The p-value and the PSI of one window, and which test was used."""

    p_value: float
    psi: float
    test: str


def judged(bins: Histogram, past: Counts, window: Counts, samples: int) -> Judged | None:
    """As `PsiMonitor` does it."""
    group, names = bins.coarse(past.sum(axis=0), bins_of(samples, BINS))
    found = judge(merge_bins(past, group, len(names)), merge_bins(window, group, len(names)))
    return None if found is None else Judged(found.p_value, found.psi, found.test)


def learned(shape: str, rng: np.random.Generator, samples: int, length: int = 0) -> Histogram:
    """Bins from a first window, as long as is waited for."""
    first = max(samples, LEAST_ROWS, 20 * BINS)
    return Histogram.learn(column(shape, ar(rng, min(first, 8_192), length)))


def independent(shape: str, samples: int, windows: int, seed: int, shift: float = 0.0) -> Iterator[Judged]:
    """Windows of independent samples: counts are multinomial, so that they are drawn, and not the samples."""
    rng = np.random.default_rng((seed, list(SHAPES).index(shape), samples))
    block = 200  # bins are learned anew now and then: they are part of what is tested
    for start in range(0, windows, block):
        bins = learned(shape, rng, samples)
        usual, moved = (_shares(bins.count(population(shape, by))) for by in (0.0, shift))
        table = rng.multinomial(samples, usual, size=REFERENCE_WINDOWS + block)
        shifted = rng.multinomial(samples, moved, size=block) if shift else table[REFERENCE_WINDOWS:]
        for at in range(min(block, windows - start)):
            found = judged(bins, table[at : at + REFERENCE_WINDOWS], shifted[at], samples)
            if found is not None:
                yield found


@lru_cache
def population(shape: str, shift: float) -> list[Value]:
    """Many values, from which the shares of bins are taken."""
    return column(shape, np.random.default_rng(0).standard_normal(POPULATION) + shift)


def _shares(counts: Counts) -> Floats:
    return np.asarray(counts / counts.sum(), np.float64)


def dependent(shape: str, samples: int, windows: int, length: int, seed: int) -> Iterator[Judged]:
    """Windows of one AR(1) series after another."""
    rng = np.random.default_rng((seed, list(SHAPES).index(shape), samples, length))
    block = 64
    for start in range(0, windows, block):
        bins = learned(shape, rng, samples, length)
        z = ar(rng, samples * (REFERENCE_WINDOWS + block), length)
        values = column(shape, z)
        table = np.array([bins.count(values[at : at + samples]) for at in range(0, len(values), samples)])
        for at in range(REFERENCE_WINDOWS, REFERENCE_WINDOWS + min(block, windows - start)):
            found = judged(bins, table[at - REFERENCE_WINDOWS : at], table[at], samples)
            if found is not None:
                yield found


def shares(found: Sequence[Judged]) -> dict[str, float]:
    """How often each rule alarms."""
    count = max(len(found), 1)
    told = {f"p<{alpha:g}": sum(one.p_value < alpha for one in found) / count for alpha in ALPHAS}
    told |= {f"PSI>{most:g}": sum(one.psi > most for one in found) / count for most in FIXED}
    return {"windows": len(found), **told, "by t": sum(one.test == "t" for one in found) / count}


def false_alarms(windows: int) -> Iterator[dict[str, Any]]:
    """Nothing changes, and samples are independent."""
    for shape in SHAPES:
        for samples in SIZES:
            yield {
                "shape": shape,
                "samples": samples,
                **shares(list(independent(shape, samples, windows, 1))),
            }


def under_dependence(windows: int) -> Iterator[dict[str, Any]]:
    """Nothing changes, and samples hang together."""
    for shape in SHAPES:
        for samples in (200, 1_000):
            for length in LENGTHS:
                found = list(dependent(shape, samples, windows, length, 2))
                yield {"shape": shape, "samples": samples, "length": length, **shares(found)}


def families(windows: int) -> Iterator[dict[str, Any]]:
    """Alarms a window over all features, each judged at its part of 0.05, shapes in turn."""
    for features in FEATURES:
        alarms = judgements = 0
        for place, shape in enumerate(SHAPES):
            found = list(independent(shape, 1_000, windows, 3 + place))
            judgements += len(found)
            alarms += sum(one.p_value < FAMILY_ALPHA / features for one in found)
        yield {
            "features": features,
            "nominal": FAMILY_ALPHA,
            "alarms a window": features * alarms / judgements,
            "judgements": judgements,
        }


def power(windows: int) -> Iterator[dict[str, Any]]:
    """One window is shifted by so many standard deviations."""
    for shape in ("normal", "heavy tail"):
        for samples in (200, 1_000, 10_000):
            for shift in SHIFTS:
                found = list(independent(shape, samples, windows, 9, shift))
                yield {"shape": shape, "samples": samples, "shift": shift, **shares(found)}


PARTS: dict[str, tuple[Callable[[int], Iterator[dict[str, Any]]], float]] = {
    "false_alarms": (false_alarms, 1.0),
    "under_dependence": (under_dependence, 1.0),
    "families": (families, 4.0),
    "power": (power, 0.1),
}
"""What is measured, and for how many times as many windows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=8_000, help="windows judged for each share (8000)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="only this; may be repeated")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the figures as JSON, too; without FILE to standard output, and the tables to standard error",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    told = sys.stderr if args.json == "-" else sys.stdout
    figures: dict[str, list[dict[str, Any]]] = {}
    for name in args.only or PARTS:
        part, times = PARTS[name]
        figures[name] = []
        print(f"\n{name.replace('_', ' ')}", file=told)
        for row in part(max(int(args.windows * times), 1)):
            if not figures[name]:
                print("  ".join(f"{key:>11}" for key in row), file=told)
            figures[name].append(row)
            cells = (f"{value:.4f}" if isinstance(value, float) else f"{value}" for value in row.values())
            print("  ".join(f"{cell:>11}" for cell in cells), file=told, flush=True)
    write(figures, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
