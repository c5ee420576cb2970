"""The side-by-side's arithmetic: medians of the runs, the table with its ratios, and whether the values are the same. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any

Values = Mapping[str, float | None]
TOLERANCE = 1e-6
DISTINCT_EXACT = (
    256  # Penstock's distinct is exact up to here, then an estimate with a standard error of 2.3 %
)
DISTINCT_TOLERANCE = 0.12  # five standard errors: thousands of customers are compared
FIGURES = (
    "events_per_s", "cpu_us_per_event", "events_per_cpu_s", "redis_cpu_us_per_event", "kafka_cpu_us_per_event",
    "memory_mb", "writes_per_event",
)  # fmt: skip
#: Head, figure, format. The last two are ratios.
COLUMNS = (
    ("events/s", "events_per_s", ",.0f"),
    ("CPU us/event", "cpu_us_per_event", ".1f"),
    ("events/CPU s", "events_per_cpu_s", ",.0f"),
    ("Redis us/event", "redis_cpu_us_per_event", ".1f"),
    ("Kafka us/event", "kafka_cpu_us_per_event", ".1f"),
    ("memory MB", "memory_mb", ".0f"),
    ("x events/s", "events_per_s", ".2f"),
    ("x per CPU s", "events_per_cpu_s", ".2f"),
)


def per_event(run: Mapping[str, Any], events: int) -> dict[str, float]:
    """Give the figures of one run from what was measured; those that were not are left out."""
    found = {
        "events_per_s": events / run["wall_s"],
        "cpu_us_per_event": run["cpu_s"] / events * 1e6,
        "events_per_cpu_s": events / run["cpu_s"],
        "memory_mb": run["memory_mb"],
    }
    for name, measured, scale in (
        ("redis_cpu_us_per_event", "redis_cpu_s", 1e6), ("kafka_cpu_us_per_event", "kafka_cpu_s", 1e6),
        ("writes_per_event", "writes", 1),
    ):  # fmt: skip
        if run.get(measured) is not None:
            found[name] = run[measured] / events * scale
    return found


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Give the median of every figure that all runs have."""
    return {
        name: float(f"{median(run[name] for run in runs):.4g}")
        for name in FIGURES
        if all(name in run for run in runs)
    }


def ratios(figures: Mapping[str, Mapping[str, float]], own: str) -> dict[str, dict[str, float]]:
    """Give the rates of each other over those of `own`, by wall and by CPU."""
    return {
        name: {key: round(found[key] / figures[own][key], 2) for key in ("events_per_s", "events_per_cpu_s")}
        for name, found in figures.items()
        if name != own
    }


def table(figures: Mapping[str, Mapping[str, float]], own: str, promises: Mapping[str, str]) -> str:
    """Give one line per contender; the last two figures are its rates over those of `own`."""
    rates = ratios(figures, own) | {own: {"events_per_s": 1.0, "events_per_cpu_s": 1.0}}
    width = max(map(len, figures))
    lines = [" " * width + "".join(f"{head:>16}" for head, _, _ in COLUMNS) + "  after a crash"]
    for name, found in figures.items():
        cells = [
            format(source[key], form) if key in source else "-"
            for source, (_, key, form) in zip([found] * 6 + [rates[name]] * 2, COLUMNS, strict=True)
        ]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>16}" for cell in cells) + f"  {promises[name]}")
    return "\n".join(lines)


def differences(ours: Mapping[str, Values], theirs: Mapping[str, Values]) -> list[str]:
    """Give a line per customer and feature whose value is another one, beyond rounding.

    A customer that one side lacks is a difference; so is a feature.
    """
    found = [f"{customer}: on one side only" for customer in sorted(ours.keys() ^ theirs.keys())]
    for customer in sorted(ours.keys() & theirs.keys()):
        one, other = ours[customer], theirs[customer]
        for name in sorted(one.keys() | other.keys()):
            if name not in one or name not in other or not same(name, one[name], other[name]):
                found.append(f"{customer} {name}: {one.get(name)} and {other.get(name)}")
    return found


def without(documents: Mapping[str, Values], names: Collection[str]) -> dict[str, dict[str, float | None]]:
    """Give the documents without some of their features."""
    return {c: {n: v for n, v in values.items() if n not in names} for c, values in documents.items()}


def same(name: str, ours: float | None, theirs: float | None) -> bool:
    """Say if two values of a feature are equal up to rounding; distinct counts beyond the exact ones, up to their error."""
    if ours is None or theirs is None:
        return ours is theirs
    tolerance = TOLERANCE
    if name == "merchants" and theirs > DISTINCT_EXACT:
        tolerance = DISTINCT_TOLERANCE
    return abs(ours - theirs) <= tolerance * max(1.0, abs(ours), abs(theirs))
