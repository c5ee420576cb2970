"""A file of the wrong kind, or a name where a file is wanted, is said in one line that says what to give instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.stream import cli
from penstock.stream.cli.publish import BadLine, records
from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError


@pytest.mark.parametrize("key", [(), ("card",)], ids=["no key", "a key"])
def test_a_table_that_is_no_json_lines_is_refused_with_its_file_and_line(key: tuple[str, ...]) -> None:
    with pytest.raises(BadLine) as said:
        list(records("cards.paid", [b"card,amount\n", b"c1,3\n"], key, "paid.csv"))
    assert str(said.value).startswith("paid.csv, line 1: 'card,amount' is not a JSON object")
    assert "JSON lines only" in str(said.value) and str(said.value).endswith("Nothing is published")
    made = records("cards.paid", [b'{"card": "c1"}', b"", b"[1]"], key, "paid.jsonl")
    assert next(made) == ("cards.paid", b"c1" if key else None, b'{"card": "c1"}')
    with pytest.raises(BadLine, match=r"paid\.jsonl, line 3: '\[1\]' is not a JSON object"):
        next(made)


def test_a_pipelines_name_where_its_file_is_wanted_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", "flights", "--out", "page.html"]) == 2
    said = capsys.readouterr().err
    assert "It wants a file, such as flights.py, and not a pipeline's name" in said and said.count("\n") == 1
    with pytest.raises(DefinitionError, match="no such definition file$"):
        load(tmp_path / "gone.py")
