"""The benchmark of drift detectors: its figures are counted right, and ours meet what is claimed of them."""

from __future__ import annotations

import json

import pytest

from benchmarks.drift import STREAMS, contenders, every, main, measure, run_length


def test_a_dummy_is_counted_as_what_it_is() -> None:
    found = measure(lambda: every(100), "abrupt", range(3))
    assert (found.before, found.after, found.delay, found.found) == (10.0, 9.0, 99.0, 1.0)
    assert run_length(lambda: every(100), range(3)) == (100.0, False)
    never = run_length(lambda: lambda _: False, range(3))
    assert never == (60_000.0, True), "a run that was cut off is only a bound"


def test_the_detector_for_errors_finds_the_published_changes_soon_and_once() -> None:
    """Goal: 0.05 before, 1.00 after, at most 20 events abrupt and 200 gradual; other seeds than it was made with."""
    make = next(one.make for one in contenders() if one.name == "RateRise")
    for stream, most in (("abrupt", 20.0), ("gradual", 210.0)):
        found = measure(make, stream, range(5_000, 5_040))
        assert found.before <= 0.1 and 0.95 <= found.after <= 1.05, (stream, found)
        assert found.delay is not None and found.delay <= most, (stream, found)


@pytest.mark.long
def test_every_contender_runs_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--curve-seeds", "0", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == len(list(contenders())) * len(STREAMS)
