"""The benchmark of run lengths: its streams are what they say, the policy really carries out, and the figures are written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from river import linear_model, preprocessing

from benchmarks import run_lengths
from benchmarks.gate_streams import Row, Variant, opened
from benchmarks.run_length_streams import INPUTS, KINDS, ar, simulated, stationary
from penstock.stream.messages import Command
from penstock.stream.operate.attended import Attended


def turned(number: int, changed_at: int) -> list[Row]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((number, 2))
    signs = np.where(np.arange(number) < changed_at, 3.0, -3.0)
    y = rng.random(number) < 1 / (1 + np.exp(-signs * x[:, 0]))
    return [Row({"a": a, "b": b}, one) for (a, b), one in zip(x.tolist(), y.tolist(), strict=True)]


def attended(rows: list[Row]) -> Attended:
    stream = opened(rows, Variant())
    watched = Attended(stream.pipeline(preprocessing.StandardScaler() | linear_model.LogisticRegression()))
    for entry in stream.entries:
        watched.step(entry)
    return watched


def test_what_the_fold_asks_for_is_decided_and_carried_out_at_the_next_record() -> None:
    watched = attended(turned(8_000, 5_000))
    commands = [entry for entry in watched.entries if isinstance(entry, Command)]
    asked = [event for event in watched.told if event.data.target_version]
    assert len(commands) == len(asked) == 1
    place = watched.entries.index(commands[0])
    assert asked[0].data.detected_at["position"] == place - 1
    assert watched.fold.experts.committed.version == asked[0].data.target_version == commands[0].version
    changes, retrains, adwin, others, reasons = run_lengths.counted(watched.told)
    assert (changes, retrains, adwin, others) == (1, 0, 0, {}) and reasons == [asked[0].data.reason]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_the_same_again_and_another_with_another_seed(kind: str) -> None:
    first, per_year = stationary(kind, 1, 200)
    assert stationary(kind, 1, 200) == (first, per_year) and stationary(kind, 2, 200)[0] != first
    assert 100_000 <= per_year <= 350_000 and len(first) == 200
    assert all(len(row.x) == INPUTS and None not in row.x.values() for row in first)
    step_ms = 365.25 * 86_400_000 / per_year
    times: list[Any] = [row.at for row in first]
    assert all(abs(late - early - step_ms) <= 1.0 for early, late in zip(times, times[1:], strict=False))


@pytest.mark.parametrize("length", [10, 100])
def test_noise_is_as_long_correlated_as_it_says_also_from_chunk_to_chunk(length: int) -> None:
    rng = np.random.default_rng(1)
    last, chunks = rng.standard_normal(40), []
    for _ in range(20):
        chunks.append(ar(rng, 500, length, last))
        last = chunks[-1][-1]
    noise = np.concatenate(chunks)
    assert noise.std() == pytest.approx(1.0, abs=0.08)
    measured = (noise[1:] * noise[:-1]).mean() / (noise * noise).mean()
    assert measured == pytest.approx(math.exp(-1 / length), abs=0.01)


def test_the_interval_holds_the_rate_it_is_about() -> None:
    assert run_lengths.interval(0, 4.0)[0] == 0.0
    low, high = run_lengths.interval(7, 10.0)
    assert low < 0.7 < high


def test_experts_that_say_the_same_are_told_of_in_no_year() -> None:
    found = simulated(" iid apart 0.0", 1, 0.1)
    assert found.labels > 10_000 and (found.changes, found.fired) == (0, 0) and abs(found.gap) < 0.2


def test_the_figures_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    options = ["--streams", "1", "--labels", "300", "--simulated", "0.01", "--json", str(file)]
    assert run_lengths.main(options) == 0
    figures = json.loads(file.read_text())
    assert [row["kind"] for row in figures["fold"]] == list(KINDS) and figures["budget"]["changes"] == 0.5
    assert all(row["labels"] == 300 and row["changes"] == 0 for row in figures["fold"])
    assert "within the budget" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_lengths.main(["--labels", "0"])
    assert "--labels 0: it must be at least 1" in capsys.readouterr().err
