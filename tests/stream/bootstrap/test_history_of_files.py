"""Features of the past, asked of the topics of a pipeline that began with files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.stream import cli
from penstock.stream.cli import features_history
from penstock.stream.definition_file import load
from penstock.stream.log.memory import MemoryLog
from tests.places import CARDS
from tests.stream.bootstrap.in_files import at_of, bootstrapped, flow_of, plan_of, published, written
from tests.stream.generated import card_events


def opened(log: Any) -> Any:
    """What `start.open_log` gives, of this log; nobody closes it for good."""
    return lambda settings: log


@pytest.mark.parametrize("files", [True, False], ids=["began with files", "began with topics"])
def test_a_pipeline_that_began_with_files_says_so_where_its_topics_are_asked_for_its_past(
    files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cards.py"
    file.write_text(CARDS.replace("NAME", "cards"))
    pipeline, events = load(file), list(card_events(60))
    flow = flow_of(pipeline, 2)
    until = at_of(pipeline, events[40])
    flow.feed(published(pipeline, [one for one in events if not files or at_of(pipeline, one) >= until], 2))
    if files:
        bootstrapped(flow, plan_of(flow, written(pipeline, events), until))
    flow.settle()
    assert isinstance(flow.log, MemoryLog)
    monkeypatch.setattr(flow.log, "close", lambda: None)
    monkeypatch.setattr(features_history.start, "open_log", opened(flow.log))
    source = pipeline.predict
    spine = tmp_path / "spine.jsonl"
    spine.write_text(json.dumps({source.id: events[0][2][source.id]}) + "\n")
    out = str(tmp_path / "out.jsonl")
    line = [
        "features",
        "history",
        str(file),
        "--spine",
        str(spine),
        "--rows",
        "events",
        "--out",
        out,
        "--workers",
        "1",
    ]
    assert cli.main(line) == (1 if files else 0)
    told = capsys.readouterr().out
    assert ("note: cards began with files (`penstock bootstrap`)" in told) == files
    assert ("--source" in told) == files
    assert cli.main([*line, "--json"]) == (1 if files else 0)
    assert ("note" in json.loads(capsys.readouterr().out)) == files
    flow.close()
