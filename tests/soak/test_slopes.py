"""A leak is found among samples that jump about, and what only jumps about is none."""

from __future__ import annotations

import random

import pytest

from tests.soak.slopes import BOUNDS, NEVER_BEGUN_AGAIN, missing, slope, slopes


def sampled(leak_mb_an_hour: float, minutes: int = 120, pid: int = 1) -> list[dict[str, object]]:
    """Two samples a minute: it fills up at first, has peaks, and grows as is said."""
    chance = random.Random(minutes)
    found: list[dict[str, object]] = []
    for number in range(minutes * 2):
        hours = number / 120
        warm = min(number / minutes, 1.0) * 50
        peak = 40.0 if chance.random() < 0.1 else 0.0
        rss = 150 + warm + peak + chance.gauss(0, 1) + leak_mb_an_hour * hours
        found.append({"s": number * 30.0, "of": {"learn": {"pid": pid, "rss_mb": rss, "threads": 9}}})
    return found


@pytest.mark.parametrize("minutes", [60, 120, 240])
def test_what_fills_up_and_jumps_about_is_flat(minutes: int) -> None:
    found = slopes(sampled(0.0, minutes))
    assert {one.what for one in found} == {"rss_mb", "threads"}
    assert all(one.flat for one in found)


@pytest.mark.parametrize("minutes", [60, 120, 240])
def test_a_leak_beyond_the_bound_is_found(minutes: int) -> None:
    leaks = [one for one in slopes(sampled(BOUNDS["rss_mb"] * 1.5, minutes)) if not one.flat]
    assert [(one.of, one.what) for one in leaks] == [("learn", "rss_mb")]


def test_a_role_that_was_begun_again_in_the_last_half_is_not_judged() -> None:
    samples = sampled(0.0)
    for one in samples[200:]:
        one["of"]["learn"]["pid"] = 2  # type: ignore[index]
    assert slopes(samples) == []


def test_whatever_ended_in_the_last_half_is_missed() -> None:
    samples = sampled(0.0)
    for one in samples:
        one["of"] = dict.fromkeys(NEVER_BEGUN_AGAIN, one["of"]["learn"])  # type: ignore[index]
    assert missing(samples, slopes(samples)) == []
    for one in samples[150:]:
        one["of"] = {name: what for name, what in one["of"].items() if name != "serve-0"}  # type: ignore[attr-defined]
    assert missing(samples, slopes(samples)) == ["serve-0 rss_mb", "serve-0 threads", "serve-0"]


def test_a_slope_is_an_hours() -> None:
    assert slope([(0.0, 1.0), (1_800.0, 2.0), (3_600.0, 3.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 1.0)]) == 0.0
