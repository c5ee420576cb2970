"""`penstock flink` where it cannot run: one line that says what to do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from penstock.stream import cli
from penstock.stream.cli import flink
from penstock.stream.process.settings import SettingError

FILE = str(Path(__file__).parents[3] / "examples" / "flights.py")


@pytest.mark.skipif(importlib.util.find_spec("pyflink") is not None, reason="PyFlink is here")
def test_without_pyflink_it_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["flink", FILE]) == 2
    said = capsys.readouterr().err
    assert said.startswith("penstock: PyFlink is not in this Python's environment") and "`make flink`" in said


@pytest.mark.parametrize("given", [["--parallelism", "0"], ["--parallelism", "9"], ["--shards", "0"]])
def test_more_workers_than_shards_are_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["flink", FILE, *given]) == 2
    assert "must be 1 to the number of --shards" in capsys.readouterr().err


def test_a_connector_that_is_missing_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(SettingError, match=r"flink-sql-connector-kafka-\*\.jar: `make flink` fetches it"):
        flink.connector()
    (tmp_path / "jars").mkdir()
    jar = tmp_path / "jars" / "flink-sql-connector-kafka-5.0.0-2.2.jar"
    jar.touch()
    assert flink.connector() == jar
