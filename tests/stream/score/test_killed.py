"""`penstock score` as a process that is killed in the middle: nothing under the file's name, and the next run is as any other."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pytest

from penstock.features.redis.store import connect
from penstock.stream import cli
from penstock.stream.cli.score import Told
from penstock.stream.definition_file import load
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from tests.effort import first_here
from tests.stream.generated import card_events, outs
from tests.stream.score.test_score import DEFINITION, read

ROWS = 14_000
"""More than three batches."""


def until_the_middle(*line: str) -> None:
    """The command; when two batches are written it says so and goes no further."""

    def say(told: Told, what: str, done: int, total: int | None) -> None:
        if done > ROWS // 2:
            print("in the middle", flush=True)
            sys.stdin.read()

    Told.say = say  # type: ignore[method-assign]
    cli.main(["score", *line])


@pytest.mark.parametrize("form", first_here(["parquet", "csv", "jsonl"]))
def test_who_is_killed_leaves_a_part_that_the_next_run_takes_away_and_that_run_gives_the_same_bytes(
    form: str, tmp_path: Path, valkey: Any, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition, source, out = tmp_path / "definition.py", tmp_path / "in.csv", tmp_path / f"out.{form}"
    definition.write_text(DEFINITION)
    chance = random.Random(1)
    rows = [f"n {n},{chance.random()},{chance.randrange(9)},{chance.random()}\n" for n in range(ROWS)]
    source.write_text("note,amount,card.paid_1h,card.mean_1d\n" + "".join(rows))
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(load(str(definition)), client=connect(valkey_url), clock=lambda: next(wall))
    flow.feed(outs(card_events(60)))
    flow.settle()
    flow.close()
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("PENSTOCK_SECRET", SECRET)
    undisturbed = tmp_path / f"undisturbed.{form}"
    assert cli.main(["score", str(definition), "--in", str(source), "--out", str(undisturbed)]) == 0

    line = (str(definition), "--in", str(source), "--out", str(out))
    code = f"from tests.stream.score.test_killed import until_the_middle; until_the_middle{line!r}"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"in the middle\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    part = tmp_path / f"out.{form}.part"
    assert part.exists() and not out.exists(), "what is left says by its name that it is a part"

    assert cli.main(["score", *line]) == 0
    assert out.read_bytes() == undisturbed.read_bytes() and len(read(str(out))) == ROWS
    assert not part.exists()
