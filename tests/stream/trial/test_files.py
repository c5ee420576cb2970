"""`penstock test`: what differs is told by line and column, and the exit code says whether it is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.stream import cli
from penstock.stream.trial.compare import Got, differences
from penstock.stream.trial.wire import expected
from tests.stream.trial.made import Folder, lines, payment


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """With an expected file that is right."""
    made = Folder(tmp_path)
    assert cli.main([*made.command, "--update", "--also", "documents", "--also", "predictions"]) == 0
    return made


def test_what_was_written_down_is_right_until_something_else_comes(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(folder.command) == 0
    assert "8 lines of expected.jsonl: all as expected" in capsys.readouterr().out
    folder.definition.write_text(folder.definition.read_text().replace('count("1h")', 'count("60s")'))
    assert cli.main(folder.command) == 1
    said = capsys.readouterr().out
    assert said.startswith("expected.jsonl:7  document card c1\n    paid_1h ") and "1 differ" in said


def test_a_difference_names_line_column_expected_and_got(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    found = list(folder.expected())
    found[1]["features"]["card.paid_1h"] = 7
    found[1]["label"] = False
    folder.rewrite(found)
    assert cli.main(folder.command) == 1
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert said[:3] == [
        "expected.jsonl:2 sample p2 (events.jsonl:2)",
        "card.paid_1h expected 7 got 2.0",
        "label expected false got true",
    ]


def test_what_did_not_come_and_what_nobody_expects_is_told(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.events.write_text(lines([payment(1), payment(2, amount="much"), payment(4)]))
    assert cli.main(folder.command) == 1
    said = capsys.readouterr().out
    assert "expected.jsonl:2  sample p2 did not come: its event became a dead letter (" in said
    assert "expected.jsonl:3  sample p3 did not come\n" in said
    assert "sample p4 (events.jsonl:3) came, and no line of expected.jsonl expects it:" in said
    assert "dead letter p2 cards.paid (events.jsonl:2) came" in said


def test_only_what_a_line_says_is_compared_and_what_no_line_says_is_named(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.rewrite([{"sample": f"p{n}", "features": {"amount": 10 * n}} for n in (1, 2, 3)])
    assert cli.main(folder.command) == 0
    assert (
        "not compared, because no line names it: at, key, card.paid_1h, card.mean_1d"
        in capsys.readouterr().out
    )
    folder.rewrite([{"sample": f"p{n}", "nonsense": 1} for n in (1, 2, 3)])
    assert cli.main(folder.command) == 1
    assert "got no such column" in capsys.readouterr().out


def test_an_update_keeps_the_kinds_that_are_expected_and_the_first_comments(folder: Folder) -> None:
    before = folder.expect.read_text()
    folder.expect.write_text(f"# why these payments\n{before}")
    assert cli.main([*folder.command, "--update"]) == 0
    assert folder.expect.read_text() == f"# why these payments\n{before}"


def test_lines_are_matched_by_what_they_are_about_and_repeats_by_their_number() -> None:
    def of(values: list[tuple[str, int]]) -> list[dict[str, Any]]:
        return [{"sample": name, "features": {"n": value}} for name, value in values]

    came = [Got("sample", line) for line in of([("a", 1), ("b", 2), ("a", 3)])]
    text = "\n".join(json.dumps(line) for line in of([("b", 2), ("a", 1), ("a", 4)]))
    (one,) = differences(expected(text, "e"), came)
    assert one.about == "sample a (number 2)" and one.wrong == (("n", "4", "3"),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: not a JSON object"),
        ('{"payment": "p1"}', "is this the event itself"),
        ('{"key": "c1"}', "has no `value`"),
        ('{"value": {}, "topic": "else"}', "no source of this pipeline"),
        ('{"time": "noon"}', "neither milliseconds"),
        ('{"raw": 7}', "`raw` is the record's text"),
    ],
)
def test_a_line_of_the_events_that_cannot_be_used_is_said_with_its_number(
    folder: Folder, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.events.write_text(f"# a comment\n{line}\n")
    assert cli.main(folder.command) == 2
    told = capsys.readouterr().err
    assert told.startswith("penstock: events.jsonl, line 2: ") and said in told


def test_what_cannot_be_tried_ends_with_2_and_one_line(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.expect.write_text('{"n": 1}\n')
    assert cli.main(folder.command) == 2
    assert "expected.jsonl, line 1: a line begins with one of sample" in capsys.readouterr().err
    folder.expect.unlink()
    assert cli.main(folder.command) == 2
    assert "--update writes it" in capsys.readouterr().err
    assert cli.main([*folder.command[:4], "--update"]) == 2
    assert "--update needs --expect" in capsys.readouterr().err


def test_without_an_expected_file_what_comes_is_printed(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = folder.expect.read_text().splitlines()
    assert cli.main([*folder.command[:4], "--also", "documents", "--also", "predictions"]) == 0
    assert capsys.readouterr().out.splitlines()[: len(wanted)] == wanted


def test_the_result_for_programs_says_the_same(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(folder.expected())
    found[0]["label"] = True
    folder.rewrite(found)
    assert cli.main([*folder.command, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["right"] and told["came"]["sample"] == 3 and told["leaks"]["leaks"] == []
    (one,) = told["different"]
    assert (one["expected_line"], one["event_line"]) == (1, 1)
    assert one["wrong"] == [{"name": "label", "expected": "true", "got": "false"}]
