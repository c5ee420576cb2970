"""`penstock features history` as people and schedulers run it: several processes, kills, arguments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.stream import cli
from penstock.stream.cli.features_history import Told
from tests.stream.history.test_history import read, spine_of_cards, write
from tests.stream.score.test_score import DEFINITION


@pytest.fixture
def line(tmp_path: Path) -> list[str]:
    """The command, but for where its rows go."""
    given = spine_of_cards(tmp_path, 3_000)
    (tmp_path / "definition.py").write_text(DEFINITION)
    (files,) = given["files"]["cards.paid"]
    return [
        *("features", "history", str(tmp_path / "definition.py"), "--spine", given["spine"]),
        *("--source", f"cards.paid={files[0]}"),
    ]


@pytest.mark.long
def test_two_processes_give_the_bytes_that_one_gives(line: list[str], tmp_path: Path, capsys: Any) -> None:
    for workers in ("1", "2"):
        out = str(tmp_path / f"{workers}.jsonl")
        assert cli.main([*line, "--out", out, "--workers", workers, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["rows"], said["answered"], said["events"]) == (200, 200, 3_000)
        assert said["features"] == ["card.paid_1h", "card.mean_1d"]
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert any(row["card.paid_1h"] for row in read(tmp_path / "1.jsonl"))


def until_the_middle(*line: str) -> None:
    """The command; when rows are being written it says so and goes no further."""

    def say(told: Told, what: str, done: int, total: int | None) -> None:
        if what == "rows written":
            print("in the middle", flush=True)
            sys.stdin.read()

    Told.say = say  # type: ignore[method-assign]
    cli.main([*line])


def test_who_is_killed_leaves_nothing_under_the_name_and_the_next_run_is_as_any_other(
    line: list[str], tmp_path: Path
) -> None:
    out, undisturbed = tmp_path / "out.csv", tmp_path / "undisturbed.csv"
    assert cli.main([*line, "--workers", "1", "--out", str(undisturbed)]) == 0
    asked = (*line, "--workers", "1", "--scratch", str(tmp_path), "--out", str(out))
    code = f"from tests.stream.history.test_command import until_the_middle; until_the_middle{asked!r}"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"in the middle\n"
        child.send_signal(signal.SIGKILL)
    assert not out.exists() and (tmp_path / "out.csv.part").exists()
    assert cli.main([*line, "--workers", "1", "--out", str(out)]) == 0
    assert out.read_bytes() == undisturbed.read_bytes() and not (tmp_path / "out.csv.part").exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--part", "0/3"], "write it as 3/16"),
        (["--part", "third"], "write it as 3/16"),
        (["--views", "till"], "there is no view till; there are: card"),
        (["--rows", "events", "--before"], "--before is of moments"),
        (["--source", "cards.unpaid=x.csv"], "there is no topic 'cards.unpaid' here, only cards.paid"),
        (["--source", "cards.paid"], "write it as TOPIC=FILES"),
        (["--source", "cards.paid=none-*.csv"], "no file is named none-"),
        (["--source", "cards.paid=none.csv"], "none.csv cannot be read"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_one_line(
    more: list[str], why: str, line: list[str], tmp_path: Path, capsys: Any
) -> None:
    assert cli.main([*line, "--workers", "1", "--out", str(tmp_path / "out.csv"), *more]) == 2
    assert why in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_a_worker_that_dies_ends_the_command_in_one_line_and_nothing_is_written(
    line: list[str], tmp_path: Path, capsys: Any
) -> None:
    dying = "import multiprocessing, os\nif multiprocessing.parent_process() is not None:\n    os._exit(9)\n"
    (tmp_path / "definition.py").write_text(dying + DEFINITION)
    assert cli.main([*line, "--workers", "2", "--out", str(tmp_path / "out.csv")]) == 2
    assert (
        "a worker process ended in the middle" in (said := capsys.readouterr().err) and said.count("\n") == 1
    )
    assert not list(tmp_path.glob("out.csv*"))


def test_rows_without_features_are_counted_and_make_the_exit_code_1(
    line: list[str], tmp_path: Path, capsys: Any
) -> None:
    write(tmp_path / "spine.jsonl", [{"card": "c1", "at": 1}, {"card": "c1"}])
    paid = tmp_path / "paid.jsonl"
    paid.write_text(paid.read_text() + "no event\n")
    assert cli.main([*line, "--workers", "1", "--out", str(tmp_path / "out.csv")]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 rows have their 2 features, from 3,001 events" in said
    assert "row 1: column 'at' is empty" in said and "1 rows of cards.paid are no events" in said


def test_a_folder_gives_its_files_of_rows_in_the_order_of_their_names(
    line: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "lake"
    folder.mkdir()
    events = read(tmp_path / "paid.jsonl")
    for number in range(3):
        write(folder / f"{number}.parquet", events[number * 1_000 : (number + 1) * 1_000])
    (folder / "_SUCCESS").write_text("")
    for name, files in (
        ("whole", tmp_path / "paid.jsonl"),
        ("lake", folder),
        ("pattern", folder / "*.parquet"),
    ):
        given = [*line[:-1], f"cards.paid={files}"]
        assert cli.main([*given, "--workers", "1", "--out", str(tmp_path / f"{name}.csv")]) == 0
    whole = (tmp_path / "whole.csv").read_bytes()
    assert (tmp_path / "lake.csv").read_bytes() == whole == (tmp_path / "pattern.csv").read_bytes()
