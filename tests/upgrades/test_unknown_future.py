"""What a release does not know yet is refused with the line that says what to do, or passed over where that is promised.

This is what going back to an older release meets.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest

from penstock.features.define.view import STATE_LAYOUT
from penstock.features.read.client import FeatureReader
from penstock.features.redis.keys import identity_key, snapshot_key
from penstock.features.redis.memory import MemoryStateStore
from penstock.stream import topology
from penstock.stream.control.state import decode_state
from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.position import decode_position
from penstock.stream.learn.records import LAYOUT
from penstock.stream.learn.snapshot import SnapshotHeader
from penstock.stream.log.protocol import Out
from penstock.stream.messages import decode_control_event, decode_live_model, decode_operator_request
from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import BadEnvelope, Version, open_version, seal, unseal
from penstock.stream.roles.in_memory import SECRET
from tests.upgrades.kept import STORE, Kept, meant, read, versions
from tests.upgrades.living import Hashes, definition, flow_of, told
from tests.upgrades.test_store import kept

NEWEST = versions()[-1]
FOLDER = STORE / NEWEST / "parcels"


@pytest.fixture
def here() -> Kept:
    return kept(NEWEST, "parcels")


def position_key(here: Kept) -> str:
    (key,) = (key for key in here.server.data if key.endswith(":all:position"))
    return key


def test_states_of_a_newer_layout_are_refused_before_anything_is_read_of_them(here: Kept) -> None:
    found = msgspec.msgpack.decode(here.server.data[position_key(here)])
    found[0] = STATE_LAYOUT + 1
    here.server.data[position_key(here)] = msgspec.msgpack.encode(found)
    with pytest.raises(
        DefinitionError, match="another release of Penstock.*reset.*or run the release that wrote it"
    ):
        decode_position(here.server.data[position_key(here)])
    with pytest.raises(DefinitionError, match="another release of Penstock"):
        flow_of(definition(FOLDER), here.log, here.server)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["sources"][0].update(unheard_of=1),
        lambda said: said["views"][0]["features"][0].update(kind="unheard of"),
        lambda said: said.pop("sources"),
    ],
    ids=["a field of a source", "a kind of feature", "a field that is gone"],
)
def test_a_stored_definition_of_a_newer_release_is_refused_in_one_line(here: Kept, change: Any) -> None:
    key = position_key(here).replace(":position", ":definition")
    said = json.loads(here.server.data[key])
    change(said)
    here.server.data[key] = json.dumps(said).encode()
    found = msgspec.msgpack.decode(here.server.data[position_key(here)])
    here.server.data[position_key(here)] = msgspec.msgpack.encode([found[0], "0123456789ab", *found[2:]])
    with pytest.raises(
        DefinitionError, match="another release of Penstock.*run the release that wrote it, or start over"
    ):
        flow_of(definition(FOLDER), here.log, here.server)


def test_a_snapshot_of_a_newer_layout_is_not_opened_and_the_log_is_folded_anew(
    here: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    key = snapshot_key("parcels")
    header, _ = unseal(here.server.data[key], SECRET, SnapshotHeader)
    rules = header.rules.replace(f"fold {LAYOUT},", f"fold {LAYOUT + 1},")
    assert rules != header.rules
    here.server.data[key] = seal(msgspec.structs.replace(header, rules=rules), b"", SECRET)
    with caplog.at_level(logging.WARNING):
        flow = flow_of(definition(FOLDER), here.log, here.server)
        flow.settle()
    found = told(flow)["folds"]
    flow.close()
    assert f"written under rules fold {LAYOUT + 1}" in caplog.text and "it folds the log anew" in caplog.text
    assert found == json.loads((FOLDER / "expected.json").read_text())["before"]["folds"]


@pytest.mark.parametrize("more", [{"river": "99.0.0"}, {"python": "4.0.0"}])
def test_a_model_of_a_newer_river_or_python_is_not_unpickled(here: Kept, more: dict[str, str]) -> None:
    client: Any = Hashes(here.server)
    version, payload = RedisModelStore(client, "parcels", SECRET).get("v0") or pytest.fail("it is stored")
    newer = msgspec.structs.replace(version, **more)
    sealed = seal(newer, payload, SECRET)
    with pytest.raises(BadEnvelope, match="install those, or name a version made since, or retrain"):
        open_version(*unseal(sealed, SECRET, Version))


def test_an_entry_of_a_newer_kind_is_passed_over_and_the_log_says_once_what_to_do(
    here: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = definition(FOLDER)
    samples = topology.samples(pipeline.name)
    unheard_of = msgspec.msgpack.encode(["unheard of", 1])
    with caplog.at_level(logging.WARNING):
        flow = flow_of(pipeline, here.log, here.server)
        flow.settle()
        at = here.log.bounds([(samples, 0)])[(samples, 0)][1]
        here.log.append([Out(samples, b"parcels", unheard_of, (), 0)] * 3)
        flow.settle()
        assert flow.learn.unreadable == 3
        flow.close()
    said = [one.message for one in caplog.records if "nothing that this release knows" in one.message]
    assert (
        len(said) == 1
        and f"record {at} of {samples}" in said[0]
        and "run that release for learn, too" in said[0]
    )


def test_what_control_remembers_is_refused_in_one_line_where_it_cannot_be_read() -> None:
    found = [one for one in read(FOLDER / "topics.jsonl") if one["topic"].endswith("-policy-changelog")]
    stored = json.loads(meant(found[-1]["value"]) or b"")
    decode_state(json.dumps({**stored, "unheard_of": 1}).encode())
    first = next(iter(stored["decisions"].values()))
    first["verdict"] = "unheard of"
    with pytest.raises(DefinitionError, match="another release of Penstock.*run the release that wrote it"):
        decode_state(json.dumps(stored).encode())


def test_a_field_more_in_a_message_or_a_document_is_passed_over(here: Kept) -> None:
    decoders = {"control.retrain": decode_control_event, "control.models": decode_live_model,
                "control.commands": decode_operator_request}  # fmt: skip
    seen = set()
    for line in read(FOLDER / "topics.jsonl"):
        if (decode := decoders.get(line["topic"])) is not None:
            value = meant(line["value"]) or b""
            more = json.dumps({**json.loads(value), "unheard_of": 1}).encode()
            assert decode(more) == decode(value)  # type: ignore[operator]
            seen.add(line["topic"])
    assert {"control.models", "control.commands"} <= seen
    key = next(key for key in here.server.data if key.startswith("features:parcels:depot:"))
    document = json.loads(here.server.data[key])
    here.server.data[key] = json.dumps({**document, "unheard_of": 1}).encode()
    (found,) = FeatureReader(here.server, "parcels").read(
        [("depot", key.rsplit(":", 1)[1])], at_ms=document["at"]
    )
    assert found.values == document["values"]
    who = json.loads(here.server.data[identity_key("parcels")])
    here.server.data[identity_key("parcels")] = json.dumps({**who, "unheard_of": 1}).encode()
    flow_of(definition(FOLDER), here.log, here.server).close()


def test_pieces_of_a_snapshot_that_are_of_no_known_kind_are_refused(here: Kept) -> None:
    store = MemoryStateStore(here.server, "parcels", "learn")
    (sealed,) = store.load([snapshot_key("parcels")])
    with pytest.raises(BadEnvelope, match="the envelope's header is not a Version"):
        unseal(sealed or b"", SECRET, Version)
