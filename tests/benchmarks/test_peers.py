"""The side-by-side of the feature benchmark, as far as it needs no other engine: the hand-written job, the check, the table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import features as benchmark
from benchmarks.features_job import START_MS, reference_view
from benchmarks.peer_fold import WINDOWS, fold, new_state
from benchmarks.peer_report import differences, medians, per_event, ratios, same, table, without
from penstock.features.define.durations import milliseconds
from penstock.features.engine.compute import CompiledView
from penstock.features.windows.tiles import tile_hop_ms

GAPS_MS = st.one_of(
    st.integers(1, 60_000), st.integers(60_000, 4_000_000), st.integers(4_000_000, 100_000_000)
)
PAYMENTS = st.lists(
    st.tuples(GAPS_MS, st.integers(1, 5_000), st.integers(0, 6), st.integers(1, 8)), min_size=1, max_size=60
)
VIEW = CompiledView(reference_view())


def vectors(events: list[dict[str, Any]]) -> list[dict[str, float | None]]:
    """What the hand-written job gives for each event of one customer."""
    state, last_visits, found = new_state(), {}, []
    for event in events:
        values, last_visits[event["merchant"]] = fold(state, event, last_visits.get(event["merchant"]))
        found.append(values)
    return found


def by_place(listed: list[dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
    return {str(place): values for place, values in enumerate(listed)}


@given(PAYMENTS)
def test_the_hand_written_job_gives_what_penstock_gives(payments: list[tuple[int, int, int, int]]) -> None:
    at, events = START_MS, []
    for gap_ms, cents, merchant, items in payments:
        at += gap_ms
        events.append({"at": at, "amount": cents / 100, "merchant": merchant, "items": items})
    state = VIEW.new()
    ours = [
        dict(zip(VIEW.numeric, VIEW.update_own(state, e["at"], tie, e), strict=True))
        for tie, e in enumerate(events)
    ]
    theirs = vectors(events)
    assert differences(by_place(ours), by_place(theirs)) == []


def test_the_hand_written_windows_are_cut_as_penstock_cuts_them() -> None:
    for name, tile_ms, span in WINDOWS:
        assert (tile_ms, tile_ms * span) == (tile_hop_ms(milliseconds(name)), milliseconds(name))


def test_rounding_is_no_difference_and_everything_else_is_one() -> None:
    ours = {"a": {"n": 1.0, "sum": 100.0, "idle": None}}
    assert differences(ours, {"a": {"n": 1.0, "sum": 100.00001, "idle": None}}) == []
    assert differences(ours, {"a": {"n": 1.0, "sum": 100.001, "idle": None}}) == ["a sum: 100.0 and 100.001"]
    assert differences(ours, {"a": {"n": 1.0, "sum": 100.0, "idle": 0.0}}) == ["a idle: None and 0.0"]
    assert differences(ours, {"a": {"n": 1.0, "sum": 100.0}}) == ["a idle: None and None"]
    assert differences(ours, {"b": ours["a"]}) == ["a: on one side only", "b: on one side only"]


def test_only_many_distinct_values_may_be_estimated() -> None:
    assert same("merchants", 1_020.0, 1_000.0)
    assert not same("merchants", 1_200.0, 1_000.0)
    assert not same("merchants", 101.0, 100.0)
    assert not same("most", 1_020.0, 1_000.0)


def test_a_document_without_a_feature_keeps_the_others() -> None:
    assert without({"a": {"n": 1.0, "idle": 2.0}}, {"idle"}) == {"a": {"n": 1.0}}


def test_figures_are_per_event_and_medians_of_those_every_run_has() -> None:
    measured = {"wall_s": 2.0, "cpu_s": 1.0, "memory_mb": 10, "redis_cpu_s": 0.5, "writes": 50}
    run = per_event(measured, 100)
    assert run == {
        "events_per_s": 50, "events_per_cpu_s": 100, "cpu_us_per_event": 10_000, "memory_mb": 10,
        "redis_cpu_us_per_event": 5_000, "writes_per_event": 0.5,
    }  # fmt: skip
    other = {name: value for name, value in run.items() if name != "writes_per_event"} | {"events_per_s": 70}
    assert medians([run, other, other])["events_per_s"] == 70
    assert "writes_per_event" not in medians([run, other])


def test_the_table_has_a_line_for_each_with_its_rates_over_ours() -> None:
    ours = per_event({"wall_s": 2.0, "cpu_s": 1.0, "memory_mb": 10}, 100)
    theirs = per_event({"wall_s": 1.0, "cpu_s": 4.0, "memory_mb": 20}, 100)
    figures = {"ours": ours, "theirs": theirs}
    head, own, other = table(figures, "ours", {"ours": "exactly once", "theirs": "nothing"}).splitlines()
    assert head.split()[0] == "events/s"
    assert own.split()[-4:] == ["1.00", "1.00", "exactly", "once"]
    assert other.split()[-3:] == ["2.00", "0.25", "nothing"]
    assert ratios(figures, "ours") == {"theirs": {"events_per_s": 2.0, "events_per_cpu_s": 0.25}}


def test_without_bytewax_the_option_says_in_one_line_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    assert benchmark.main(["--peers"]) == 2
    assert capsys.readouterr().err == "--peers needs Bytewax: pip install 'penstock[peers]'\n"
