"""`penstock plan` on a real broker and a real Valkey: what it says is what `penstock backfill` and `penstock what-if` then do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.roles.identity import Identity
from penstock.stream.roles.in_memory import MemoryFlow
from tests.patience import PATIENCE_S
from tests.places import PARCELS
from tests.stream.generated import outs, parcel_events

EVENTS = 600


@pytest.fixture
def lived(
    kafka_bootstrap: str,
    kafka_log: KafkaLog,
    valkey: redis.Redis,
    valkey_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The name of a pipeline that lived through a stream; its definition lies in the working directory as `former.py`."""
    name = unique("plan")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("REDIS_URL", valkey_url)
    Path("former.py").write_text(PARCELS.replace("NAME", name))
    assert cli.main(["topics", "former.py", "--create-sources", "--partitions", "2"]) == 0
    stream = [Out(out.topic.replace("parcels", name), *out[1:]) for out in outs(parcel_events(EVENTS))]
    kafka_log.append(stream)
    log: Any = kafka_log
    flow = MemoryFlow(load("former.py"), log=log, client=valkey)
    until_s = time.monotonic() + PATIENCE_S
    while flow.learn.fold is None or flow.learn.fold.counts.labels + EVENTS < len(stream):
        assert time.monotonic() < until_s, "the flow did not read all"
        flow.featurize.process_batch(0.05)
        flow.learn.process_batch(0.05)
    flow.close()
    return name


def asked(capsys: pytest.CaptureFixture[str], code: int, *line: str) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main([*line]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def changed(*replaced: tuple[str, str]) -> None:
    text = Path("former.py").read_text()
    for before, after in replaced:
        assert before in text
        text = text.replace(before, after)
    Path("changed.py").write_text(text)


def test_what_is_planned_is_what_is_done_and_nobody_notices(
    lived: str, kafka_log: KafkaLog, valkey: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    def stands() -> Any:
        owned = [topic.name for topic in topology.owned(lived) if topic.name.startswith(lived)]
        tps = [(one, 0) for one in owned] + [
            (f"{lived}.{part}", n) for part in ("sent", "delivered") for n in (0, 1)
        ]
        keys = sorted(key for key in valkey.scan_iter() if lived.encode() in key)
        return kafka_log.bounds(tps), [(key, valkey.dump(key)) for key in keys]

    changed(('done_1h=count("1h")', 'done_1h=count("1h"), late_ever=mean("late")'))
    before = stands()
    same = asked(capsys, 0, "plan", "former.py", "--format", "json")
    assert same["verdict"] == "nothing" and same["against"] == "live"
    found = asked(capsys, 0, "plan", "changed.py", "--backtest", "8h", "--format", "json")
    assert stands() == before
    tested = found["backtest"]
    alike = asked(capsys, 0, "what-if", "changed.py", "--from", str(tested["since"]), "--json")
    assert {name: tested[name] for name in alike if name != "seconds"} == {
        name: value for name, value in alike.items() if name != "seconds"
    }
    assert tested["parts"][0]["labels"] > 100
    done = asked(capsys, 0, "backfill", "changed.py", "--json")
    assert done["changes"] == found["changes"] and done["records_read"] == found["cost"]["records"]
    assert done["kept_states"] + done["rebuilt_states"] == found["cost"]["states"]
    assert asked(capsys, 0, "plan", "changed.py", "--format", "json")["changes"] == []
    back = asked(capsys, 3, "plan", "former.py", "--format", "json")
    assert {"view": "depot", "feature": "late_ever", "fate": "dropped", "why": ""} in back["columns"]


def test_servers_that_are_not_there_end_with_one_line(
    lived: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(("LogisticRegression()", "LogisticRegression(l2=0.1)"))
    assert cli.main(["plan", "changed.py", "--against", "former.py", "--offline"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert cli.main(["plan", "changed.py"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("penstock: ") and said.count("\n") == 1


def test_a_redis_of_another_kafka_cluster_is_not_planned_with(
    lived: str, valkey: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Identity(pipeline=lived, cluster="another", kafka="elsewhere:9092")
    valkey.set(other.key, msgspec.json.encode(other))
    assert cli.main(["plan", "former.py"]) == 2
    said = capsys.readouterr().err
    assert "of another Kafka cluster than the one at" in said and said.count("\n") == 1
