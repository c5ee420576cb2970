"""What every former version wrote is read today, as it was meant; what is not read is refused with what to do.

A store is what one version wrote (`tests/upgrades/store/<number>`, `write.py`). It is never changed.
"""

from __future__ import annotations

import json
import platform
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import river

from penstock.features.define.view import STATE_LAYOUT
from penstock.features.read.client import FeatureReader
from penstock.features.redis.keyspace import MemoryKeyspace
from penstock.features.redis.memory import MemoryStateStore
from penstock.stream.console.state import States
from penstock.stream.control.state import decode_state
from penstock.stream.definitions import DefinitionError
from penstock.stream.history_record import decode_history
from penstock.stream.learn.records import LAYOUT
from penstock.stream.learn.replica_snapshot import open_replica, stored_replica
from penstock.stream.messages import (
    decode_control_event,
    decode_decision,
    decode_entry,
    decode_live_model,
    decode_operator_request,
)
from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import BadEnvelope, open_version
from penstock.stream.operate.dead_letters import letter
from penstock.stream.prediction import decode_prediction
from penstock.stream.roles.identity import Identity, found_identity
from penstock.stream.roles.in_memory import SECRET
from tests.upgrades import write
from tests.upgrades.kept import STORE, Kept, meant, opened, pipelines, read, records_of, versions
from tests.upgrades.living import Hashes, definition, flow_of, seconds, values_of

EVERY = [(version, name) for version in versions() for name in pipelines(version)]
WHOLE = [(version, name) for version, name in EVERY if name in write.WHOLE]
WORDS: dict[str, Any] = {
    "predictions": decode_prediction,
    "history": decode_history,
    "control.retrain": decode_control_event,
    "control.rollback": decode_control_event,
    "control.alerts": decode_control_event,
    "control.models": decode_live_model,
    "control.commands": decode_operator_request,
    "control.decisions": decode_decision,
    "control-policy-changelog": decode_state,
}
"""What reads the values of a topic, by what its name ends with."""


def about(version: str) -> dict[str, Any]:
    return json.loads((STORE / version / "about.json").read_text())  # type: ignore[no-any-return]


def expected(version: str, name: str) -> dict[str, Any]:
    return json.loads((STORE / version / name / "expected.json").read_text())  # type: ignore[no-any-return]


def kept(version: str, name: str) -> Kept:
    return opened(STORE / version / name, seconds())


def same_layout(version: str) -> bool:
    return bool(about(version)["state_layout"] == STATE_LAYOUT)


def same_python(version: str) -> bool:
    """Whether pickles of a store open here: under the same Python and river, and the same layout of the fold."""
    one = about(version)
    here = (platform.python_version(), river.__version__, LAYOUT)
    return (one["python"], one["river"], one["snapshot_layout"]) == here


def holds(decoded: Any, recorded: Any) -> bool:
    """Whether everything that was recorded is in what was decoded; a newer version may know of more."""
    if isinstance(recorded, dict):
        return all(key in decoded and holds(decoded[key], one) for key, one in recorded.items())
    if isinstance(recorded, list):
        return len(decoded) >= len(recorded) and all(map(holds, decoded, recorded))
    return bool(decoded == recorded)


def kind_of(topic: str) -> str:
    return topic if topic.startswith("control.") else topic.rpartition(".")[2]


@pytest.mark.parametrize(("version", "name"), EVERY)
def test_every_record_that_was_written_to_a_topic_is_read_with_all_that_it_said(
    version: str, name: str
) -> None:
    seen = set()
    for record in records_of(version, name):
        kind = kind_of(record.topic)
        seen.add(kind)
        if kind == "samples":
            entry = decode_entry(record.value or b"")
            assert holds(msgspec.to_builtins(entry), msgspec.msgpack.decode(record.value or b""))
        elif kind in WORDS:
            assert holds(
                json.loads(msgspec.json.encode(WORDS[kind](record.value))), json.loads(record.value or b"")
            )
        else:
            assert kind in ("sent", "delivered", "paid", "dead-letters"), record.topic
    assert "samples" in seen


@pytest.mark.parametrize("version", versions())
def test_every_kind_of_message_is_read_with_all_that_it_said(version: str) -> None:
    of_json = {"control-event": "control.alerts", "decision": "control.decisions", "history-record": "history",
               "live-model": "control.models", "operator-request": "control.commands", "prediction": "predictions"}  # fmt: skip
    for line in read(STORE / version / "messages.jsonl"):
        kind, _, name = line["kind"].partition(" ")
        value = meant(line["value"]) or b""
        if kind == "samples":
            assert holds(msgspec.to_builtins(decode_entry(value)), msgspec.msgpack.decode(value)), line[
                "kind"
            ]
        elif name == "avro":
            assert decode_prediction(value).classes == {"late": 0.75, "early": 0.25}
        else:
            decode = {"event": decode_control_event, "prediction": decode_prediction}.get(kind) or WORDS[
                of_json[name.partition(".")[0]]
            ]
            assert holds(json.loads(msgspec.json.encode(decode(value))), json.loads(value)), line["kind"]


@pytest.mark.parametrize(("version", "name"), EVERY)
def test_dead_letters_are_read_back_with_the_bytes_and_headers_that_came(version: str, name: str) -> None:
    records = records_of(version, name)
    source = {(one.topic, one.partition, one.offset): one for one in records}
    for record in records:
        if record.topic.endswith(".dead-letters"):
            one = letter(record.offset, record.timestamp_ms, record.key, record.value, record.headers)
            original = source[(one.topic, one.partition, one.of)]
            assert one.reason and one.value == original.value
            assert one.headers == [(header, value or b"") for header, value in original.headers]


@pytest.mark.parametrize(("version", "name"), EVERY)
def test_the_console_reads_everything_that_it_follows(version: str, name: str) -> None:
    states = States([name])
    for record in records_of(version, name):
        if record.topic in states.topics:
            states.step(record.topic, record.offset, record.timestamp_ms, record.value)
    assert states.unreadable == 0


@pytest.mark.parametrize(("version", "name"), WHOLE)
def test_stored_states_say_the_same_of_every_moment_or_are_refused(version: str, name: str) -> None:
    here = kept(version, name)
    pipeline = definition(STORE / version / name)
    if same_layout(version):
        assert values_of(pipeline, here.server) == expected(version, name)["before"]["values"] != {}
    else:
        with pytest.raises(
            DefinitionError, match="another release of Penstock.*`penstock reset` starts over"
        ):
            flow_of(pipeline, here.log, here.server)


@pytest.mark.parametrize(("version", "name"), EVERY)
def test_public_documents_are_read_by_the_client(version: str, name: str) -> None:
    data = kept(version, name).server
    found = 0
    for key, value in data.data.items():
        kind, _, rest = key.partition(":")
        if kind != "features" or ":" not in rest:
            continue
        _, view, entity = rest.split(":")
        written = json.loads(value)
        parts = tuple(unquote(part) for part in entity.split("|"))
        (read_back,) = FeatureReader(data, name).read([(view, parts)], at_ms=written["at"])
        assert read_back.values == written["values"]
        found += 1
    assert found
    who = found_identity(MemoryKeyspace(data), Identity(pipeline=name))
    assert who is not None and who.pipeline == name


@pytest.mark.parametrize(("version", "name"), WHOLE)
def test_stored_versions_and_the_replica_open_or_say_what_to_do(version: str, name: str) -> None:
    here, pipeline = kept(version, name), definition(STORE / version / name)
    client: Any = Hashes(here.server)
    models = RedisModelStore(client, name, SECRET)
    stored = models.versions()
    assert bool(stored) == (pipeline.shards == 1 and pipeline.labelled)
    for one in stored:
        found = models.get(one.id)
        assert found is not None
        if (
            about(version)["river"] == river.__version__
            and about(version)["python"][:4] == platform.python_version()[:4]
        ):
            open_version(*found)
        else:
            with pytest.raises(BadEnvelope, match=r"install those, or name a version made since, or retrain"):
                open_version(*found)
    if pipeline.shards > 1:
        return
    taken = stored_replica(MemoryStateStore(here.server, name, "learn"), name, SECRET).load()
    assert taken is not None
    if same_python(version):
        stops_at = expected(version, name)["before"]["folds"]["0"]["position"]
        assert 0 < open_replica(pipeline, taken).position <= stops_at
    elif (
        about(version)["python"] != platform.python_version() or about(version)["river"] != river.__version__
    ):
        with pytest.raises(BadEnvelope, match="start both from the same definition and installation"):
            open_replica(pipeline, taken)
