"""The page on testing a pipeline: its files are those that the command writes and understands, and its test passes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from penstock.stream import cli
from tests.stream.trial.test_plugin import pytest_in
from tests.test_docs import blocks

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "pages" / "how-to" / "test-a-pipeline.md"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "cards.py", tmp_path)
    for block in blocks(PAGE, "jsonl", "python"):
        (tmp_path / block.title).write_text(block.text)


def test_the_events_give_the_lines_that_are_shown_and_a_difference_looks_as_it_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["test", "cards.py", "--events", "events.jsonl", "--expect", "expected.jsonl"]
    assert cli.main(command) == 0
    shown = (tmp_path / "expected.jsonl").read_text()
    assert cli.main([*command, "--update"]) == 0
    assert (tmp_path / "expected.jsonl").read_text() == shown
    capsys.readouterr()
    definition = tmp_path / "cards.py"
    definition.write_text(definition.read_text().replace('paid_10m=count("10m")', 'paid_10m=count("30s")'))
    assert cli.main(command) == 1
    said = capsys.readouterr().out
    (difference, _) = blocks(PAGE, "text")
    assert said.startswith(difference.text)


@pytest.mark.long
def test_the_test_that_is_shown_passes(tmp_path: Path) -> None:
    done = pytest_in(tmp_path)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
