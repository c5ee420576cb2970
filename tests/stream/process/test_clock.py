"""The clock of a process, while the system's is set forward and back."""

from __future__ import annotations

import pytest

from penstock.stream.process import clock

DAY_S = 86_400


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the two clocks of the system say, in seconds."""
    said = {"wall": 1_700_000_000.0, "passed": 50.0}
    monkeypatch.setattr(clock, "_clock", clock.Clock())
    monkeypatch.setattr(clock.time, "time_ns", lambda: round(said["wall"] * 1e9))
    monkeypatch.setattr(clock.time, "monotonic_ns", lambda: round(said["passed"] * 1e9))
    return said


def test_what_is_due_after_a_second_is_due_after_a_second_though_the_clock_is_set_back(
    system: dict[str, float],
) -> None:
    before = clock.wall_ms()
    assert before == 1_700_000_000_000
    system["wall"] -= 60 * DAY_S
    system["passed"] += 1.0
    assert clock.wall_ms() == before + 1_000


def test_a_clock_that_is_set_forward_is_followed_at_once(system: dict[str, float]) -> None:
    before = clock.wall_ms()
    system["wall"] += DAY_S
    system["passed"] += 1.0
    assert clock.wall_ms() == before + DAY_S * 1_000
