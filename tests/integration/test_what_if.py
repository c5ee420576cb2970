"""`penstock what-if`, `report` and `calibrate` on a real broker: the same definition differs by nothing, and nobody notices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from kafka import KafkaAdminClient

from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.roles.in_memory import MemoryFlow
from tests.integration.test_kill import PARCELS
from tests.patience import PATIENCE_S
from tests.stream.generated import outs, parcel_events

EVENTS = 600


@pytest.fixture
def lived(
    kafka_bootstrap: str,
    kafka_log: KafkaLog,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The name of a pipeline that lived through a stream; its definition and two changed ones lie in the folder."""
    name = unique("what-if")
    text = PARCELS.replace("NAME", name)
    (tmp_path / "same.py").write_text(text)
    (tmp_path / "model.py").write_text(text.replace("LogisticRegression()", "LogisticRegression(l2=0.1)"))
    view = next(line for line in text.splitlines(keepends=True) if 'View("street"' in line)
    (tmp_path / "view.py").write_text(text.replace(view, ""))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["topics", "same.py", "--create-sources", "--partitions", "2"]) == 0
    stream = [Out(out.topic.replace("parcels", name), *out[1:]) for out in outs(parcel_events(EVENTS))]
    kafka_log.append(stream)
    log: Any = kafka_log
    flow = MemoryFlow(load("same.py"), log=log)
    until_s = time.monotonic() + PATIENCE_S
    while flow.learn.fold is None or flow.learn.fold.counts.labels + EVENTS < len(stream):
        assert time.monotonic() < until_s, "the flow did not read all"
        flow.featurize.process_batch(0.05)
        flow.learn.process_batch(0.05)
    flow.featurize.close()
    flow.learn.close()
    flow.control.close()
    return name


def asked(capsys: pytest.CaptureFixture[str], *line: str) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main(["what-if", *line, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_change_is_tried_on_a_history_and_nobody_notices(
    lived: str, kafka_bootstrap: str, kafka_log: KafkaLog, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)

    def stands() -> Any:
        # the control topics are those of all pipelines of this broker, which other tests use as well
        owned = [topic.name for topic in topology.owned(lived) if topic.name.startswith(lived)]
        tps = [(name, 0) for name in owned] + [
            (f"{lived}.{part}", n) for part in ("sent", "delivered") for n in (0, 1)
        ]
        groups = {str(group) for group in admin.list_groups()}
        return kafka_log.bounds(tps), {group for group in groups if lived in group}

    before = stands()
    same = asked(capsys, "same.py")
    assert same["changes"] == [] and not same["recomputed"]
    anew = asked(capsys, "same.py", "--recompute")
    assert anew["recomputed"]
    for found in (same, anew):
        whole = found["parts"][0]
        assert whole["labels"] > 0.8 * EVENTS and whole["difference"] == whole["low"] == whole["high"] == 0
        assert found["left"]["not_live"] == found["left"]["not_changed"] == 0
    model = asked(capsys, "model.py", "--by", "depot", "--svg", "difference.svg")
    assert not model["recomputed"] and model["changes"] == ["the model: l2=0. → l2=0.1"]
    assert {row["value"] for row in model["parts"] if row["part"] == "depot"} == {"d0", "d1", "d2", "d3"}
    assert ElementTree.parse("difference.svg").getroot().tag.endswith("svg")
    view = asked(capsys, "view.py")
    assert (
        view["recomputed"] and view["changes"] == ["view street goes"] and view["parts"][0]["difference"] != 0
    )
    alone = asked(capsys, "view.py", "--alone", "--against", "same.py")
    assert alone["alone"] and alone["parts"][0]["labels"] == view["parts"][0]["labels"]
    assert cli.main(["report", "same.py", "--out", "report.html"]) == 0
    assert "No incident was found." in "".join(ElementTree.parse("report.html").getroot().itertext())
    assert cli.main(["calibrate", "same.py", "--budgets", "1"]) == 0
    assert "the tests of the loss need 3,000 labels" in capsys.readouterr().out
    assert stands() == before
    admin.close()


def test_an_empty_range_and_an_unknown_history_end_with_one_line(
    lived: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["what-if", "same.py", "--to", "1"]) == 2
    assert "no sample in this range" in capsys.readouterr().err
    Path("other.py").write_text(Path("same.py").read_text().replace(f'"{lived}",', '"never-ran",'))
    assert cli.main(["what-if", "other.py"]) == 2
    assert "there is no history: topic 'never-ran.samples'" in capsys.readouterr().err
