"""The benchmark of the PSI test: its streams are what they say, and it writes its figures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.psi import ALPHAS, SHAPES, ar, dependent, independent, main, shares


def test_dependence_has_the_correlation_it_is_asked_for() -> None:
    z = ar(np.random.default_rng(1), 400_000, 10)
    assert np.std(z) == pytest.approx(1.0, abs=0.02)
    assert np.corrcoef(z[10:], z[:-10])[0, 1] == pytest.approx(np.exp(-1.0), abs=0.02)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_counts_drawn_at_once_alarm_as_often_as_samples_counted_one_by_one(shape: str) -> None:
    drawn, counted = (
        shares(list(found)) for found in (independent(shape, 200, 600, 1), dependent(shape, 200, 600, 0, 1))
    )
    for alpha in ALPHAS:
        assert drawn[f"p<{alpha:g}"] == pytest.approx(alpha, abs=0.03)
        assert counted[f"p<{alpha:g}"] == pytest.approx(alpha, abs=0.03)


def test_a_shift_is_found_more_often_the_larger_it_is() -> None:
    found = [
        shares(list(independent("normal", 1_000, 100, 1, shift)))["p<0.01"] for shift in (0.0, 0.1, 0.25)
    ]
    assert found[0] < 0.1 < found[1] < found[2]


def test_each_part_is_written_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--windows", "4", "--only", "families", "--only", "power", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [row["features"] for row in figures["families"]] == [2, 10, 50] and len(figures["power"]) == 18
