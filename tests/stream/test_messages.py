"""What lies in topics can still be read: one golden file per message and version, and the rules for new fields.

A golden file is never changed. When a message gets a new field, its old file stays and a `v2` joins it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from penstock.stream import history_record, messages, prediction
from penstock.stream.history_record import Counted, EpisodeThen, ExpertThen, HistoryRecord
from penstock.stream.look import Look
from penstock.stream.messages import (
    Command,
    CommandFields,
    CommandSent,
    ControlData,
    ControlEvent,
    Decision,
    Entry,
    ExpertShown,
    LabelRecord,
    LiveModel,
    OperatorRequest,
    Origin,
    Recipe,
    Sample,
    Tick,
    decode_entry,
    encode_entry,
    encode_json,
)
from penstock.stream.prediction import ModelRef, Prediction
from penstock.stream.segment_blamed import SegmentBlamed
from penstock.stream.story_records import Deed, EpisodeSummary
from penstock.stream.trigger_records import TriggerFired, TriggerShown

GOLDEN = Path(__file__).parent.parent / "golden"
AT_MS = 1_368_417_600_000
COMMAND = Command(
    "command-e1-rollback", "rollback", "worse", "policy", "v3", 812, None, None, "flights-rollback-1", AT_MS
)

ENTRIES: dict[str, Entry] = {
    "recipe.v1": Recipe("0123456789ab", ["weight", "depot.late_3h"], "{}", AT_MS),
    "sample.v1": Sample(Origin("topic-id", 3, 41, 0), "p1", "van7", AT_MS, [1.5, None, "é", True]),
    "sample.v2": Sample(
        Origin("topic-id", 3, 41, 0), "p1", "van7", AT_MS, [1.5, None, "é", True], "0123456789ab"
    ),
    "sample.v3": Sample(
        Origin("topic-id", 3, 41, 0),
        "p1",
        "van7",
        AT_MS,
        [1.5, None, "é", True],
        "0123456789ab",
        "north|van7",
    ),
    "label.v1": LabelRecord(Origin("topic-id", 3, 41, 1), "p1", AT_MS, True),
    "label.v2": LabelRecord(Origin("topic-id", 3, 41, 1), "p1", AT_MS, 20.5, "north|van7"),
    "tick.v1": Tick({"sent/0": AT_MS, "done/0": -1}, ["done/0"], AT_MS + 5),
    "tick.v2": Tick({"sent/0": AT_MS, "done/0": -1}, ["done/0"], AT_MS + 5, 2),
    "command.v1": COMMAND,
    "command-adopt.v1": Command(
        "adopt-c1", "adopt", "retrained", "job", "retrain-c1", 5, 900, "00ff00ff00ff00ff"
    ),
    "command.v2": COMMAND,
    "command.v3": Command(
        "command-r1", "rollback", "pager 4711", "ann", "v3", None, None, None, None, AT_MS, pin=True
    ),
    "command-adopt.v2": Command(
        "adopt-c1",
        "adopt",
        "retrained",
        "job",
        "retrain-c1.00ff00",
        5,
        900,
        "00ff00ff00ff00ff",
        None,
        AT_MS,
        850,
    ),
}

ENTRIES["command-adopt.v3"] = ENTRIES["command-adopt.v2"]
# since the definition lists what starts a retrain
ENTRIES["command.v4"] = Command(
    "command-e1-1-retrain",
    "retrain",
    "20,000 labels",
    "policy",
    None,
    None,
    None,
    None,
    "e1",
    AT_MS,
    None,
    False,
    "30d",
    "labels",
)
ENTRIES["command-adopt.v4"] = ENTRIES["command-adopt.v3"]
# since a definition may name segments
ENTRIES["sample.v4"] = Sample(
    Origin("topic-id", 3, 41, 0),
    "p1",
    "van7",
    AT_MS,
    [1.5, None, "é", True],
    "0123456789ab",
    "north|van7",
    ["UA", None],
)
# since one event in some is looked at whole
ENTRIES["tick.v3"] = Tick(
    {}, [], 0, 0, Look("sent", "topic-id", 3, 127, AT_MS, {"note": "text", "price": "number"})
)

JSON: dict[str, Any] = {
    "prediction.v1": Prediction("p1", AT_MS, 0.25, ModelRef("v2"), "0123456789ab", 812),
    "control-event.v1": ControlEvent(
        id="flights-rollback-1-firing-rollback",
        source="penstock/flights",
        type="penstock.rollback",
        subject="loss",
        time="2013-05-13T04:00:00.000Z",
        data=ControlData(
            pipeline="flights",
            episode="flights-rollback-1",
            kind="rollback",
            state="firing",
            severity="critical",
            reason="the model is worse than its anchor",
            detector={"name": "rollback", "params": {"delta": 0.002}},
            since={"at": AT_MS, "position": 700},
            detected_at={"at": AT_MS + 1, "position": 812},
            suggested_action="rollback",
            statistic=9.5,
            top_features=[("dep_delay", 0.4, 1.0)],
            model={"champion": "v4", "anchor": "v3", "candidate": None},
            target_version="v3",
            command="penstock rollback flights --version v3",
        ),
    ),
    "operator-request.v1": OperatorRequest(
        id="r1", pipeline="flights", verb="hold", reason="storm", by="ann", wall_ms=AT_MS
    ),
    "decision.v1": Decision(
        id="d1", pipeline="flights", request="r1", verb="rollback", verdict="accepted", why="asked", by="ann",
        command=CommandSent(**msgspec.structs.asdict(COMMAND)), wall_ms=AT_MS,
    ),
    "live-model.v1": LiveModel(
        pipeline="flights", version="v3", why="rollback", at=AT_MS, position=812, recipe="0123456789ab", held=True,
        held_since=AT_MS, anchor="v3", anchors=["v1", "v3"], applied=["c1"], refused={"c2": "too late"},
    ),
}  # fmt: skip
JSON |= {
    "control-event.v2": msgspec.structs.replace(
        JSON["control-event.v1"],
        data=msgspec.structs.replace(JSON["control-event.v1"].data, cooldown_until=AT_MS),
    ),
    "decision.v2": JSON["decision.v1"],
    "live-model.v2": msgspec.structs.replace(JSON["live-model.v1"], change="retrain started: storm (ann)"),
}
# since experts predict together
JSON |= {
    "prediction.v2": Prediction("p1", AT_MS, 0.25, ModelRef("v2", 0.875), "0123456789ab", 812),
    "control-event.v3": msgspec.structs.replace(
        JSON["control-event.v2"],
        data=msgspec.structs.replace(
            JSON["control-event.v2"].data,
            kind="lead",
            reason="v3 (a frozen copy) leads with 98% of the weight",
            detector={"name": "lead", "subject": "loss", "params": {}},
            model={"leader": "v3", "committed": "v4"},
            losses={"live": 0.25, "base_rate": 0.5, "margin": 0.025},
        ),
    ),
    "operator-request.v2": OperatorRequest(
        id="r1", pipeline="flights", verb="rollback", reason="pager 4711", by="ann", version="v3", wall_ms=AT_MS, pin=True
    ),
    "decision.v3": msgspec.structs.replace(
        JSON["decision.v2"], command=CommandSent(**msgspec.structs.asdict(ENTRIES["command.v3"]))
    ),
    "live-model.v3": LiveModel(
        pipeline="flights", version="v3", why="rollback", at=AT_MS, position=812, recipe="0123456789ab",
        applied=["c1"], refused={"c2": "too late"}, change="rolled back: v3 has all the weight, and is pinned",
        committed="v3", weight=0.875, pinned=True, alone=True,
        experts=[
            ExpertShown(version="base", kind="base", weight=0.125),
            ExpertShown(
                version="v3", kind="frozen", weight=0.875, born_at=AT_MS - 5, born_position=700, parent="v0", learned=2_000,
                judged=90, loss=0.25, live_loss=0.3125,
            ),
        ],
    ),
}  # fmt: skip
# since the definition lists what starts a retrain, versions have names, and the champion before is known
JSON |= {
    "control-event.v4": msgspec.structs.replace(
        JSON["control-event.v3"],
        data=msgspec.structs.replace(
            JSON["control-event.v3"].data,
            kind="schedule",
            state="due",
            suggested_action="retrain",
            trigger=TriggerFired(
                kind="schedule", rule="OnSchedule('7d')", window="30d", labels=812, after="command-e0-1-retrain",
                after_position=7, due_at=AT_MS, missed=2, why_missed="no event lies between", joins=None, proposes=False,
            ),
        ),
    ),
    "operator-request.v3": msgspec.structs.replace(
        JSON["operator-request.v2"], version="name/best", digest="00ff00ff00ff00ff", window="30d"
    ),
    "decision.v4": msgspec.structs.replace(
        JSON["decision.v3"], command=CommandSent(**msgspec.structs.asdict(ENTRIES["command.v4"]))
    ),
    "live-model.v4": msgspec.structs.replace(
        JSON["live-model.v3"],
        previous="v1",
        triggers=[TriggerShown(kind="labels", rule="on every 9 labels", window="from all samples", labels_missing=7)],
        retraining=["command-r1"],
    ),
}  # fmt: skip
# since a request says where it was asked
JSON |= {"operator-request.v4": msgspec.structs.replace(JSON["operator-request.v3"], source="console")}
# since a definition may name segments, and an episode that is over is summed up
JSON |= {
    "control-event.v5": msgspec.structs.replace(
        JSON["control-event.v4"],
        id="e1-summary-1",
        type="penstock.summary",
        data=msgspec.structs.replace(
            JSON["control-event.v4"].data,
            kind="summary",
            state="over",
            suggested_action="none",
            segment=SegmentBlamed(field="carrier", value="UA", share=0.875, labels=812, usual=0.125),
            causes=["dep_delay left its range"],
            at_stake={"per_label": 0.03125, "per_day": None},
            summary=EpisodeSummary(
                until={"at": AT_MS, "position": 912}, length_ms=812, records=212, labels=100, number=2, excess_nats=12.5,
                excess_per_label=0.125, error_nats=2.5, live_loss=0.375, clean_ratio=0.5, findings=[("range", "dep_delay")],
                segments=["carrier UA"], done=[Deed(what="v3 was kept", by="penstock", at=AT_MS, position=702)],
            ),
        ),
    ),
}  # fmt: skip
# since learn writes how it did
JSON |= {
    "history-record.v1": HistoryRecord(
        id="labels-812-500.1f0c2a", pipeline="flights", kind="labels", task="binary", position=812, at=AT_MS, since_position=212,
        since=AT_MS - 3_600_000, recipe="0123456789ab", live="v0", leader="v0", committed="v0", pending=96, judged=500,
        counts=Counted(
            samples=520, labels=510, joined=500, learned=500, held_back=1, expired=2, absent=3, corrected=4, unmatched=5,
            repeats=6, unreadable=7,
        ),
        loss=0.25, base_loss=0.5, mixture_loss=0.25, means={"auc": 0.875},
        experts=[
            ExpertThen(version="base", kind="base", weight=0.125, judged=500, loss=0.5),
            ExpertThen(version="v0", kind="first", weight=0.875, judged=500, loss=0.25),
        ],
        episodes=[EpisodeThen(id="e1", kind="range", subject="dep_delay", since=AT_MS - 5, since_position=700)], held=True,
    ),
}  # fmt: skip
#: Written by former versions, which had fewer fields or others: read for ever, never written again.
FORMER = {
    "sample.v1",
    "sample.v2",
    "sample.v3",
    "label.v1",
    "tick.v1",
    "tick.v2",
    "command.v1",
    "command-adopt.v1",
    "command.v2",
    "command-adopt.v2",
    "prediction.v1",
    "control-event.v1",
    "control-event.v2",
    "operator-request.v1",
    "operator-request.v2",
    "operator-request.v3",
    "decision.v1",
    "decision.v2",
    "live-model.v1",
    "live-model.v2",
    "command.v3",
    "command-adopt.v3",
    "control-event.v3",
    "control-event.v4",
    "decision.v3",
    "live-model.v3",
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_golden_entry_reads_as_it_was_written(name: str) -> None:
    golden = (GOLDEN / f"{name}.msgpack").read_bytes()
    assert decode_entry(golden) == ENTRIES[name]
    assert type(decode_entry(golden)) is type(ENTRIES[name])


@pytest.mark.parametrize("name", JSON)
def test_a_golden_json_message_reads_as_it_was_written(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_bytes()
    assert msgspec.json.decode(golden, type=type(JSON[name])) == JSON[name]


def test_every_message_has_a_golden_file_and_every_file_a_test() -> None:
    assert {type(entry) for entry in ENTRIES.values()} == set(get_args(Entry))
    public = {
        value
        for module in (messages, prediction, history_record)
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
    }
    nested = {
        Origin, ModelRef, ControlData, CommandFields, CommandSent, ExpertShown, Counted, EpisodeThen, ExpertThen,
    }  # fmt: skip
    assert {type(message) for message in JSON.values()} == public - nested - set(get_args(Entry))
    files = {
        path.name for path in GOLDEN.iterdir() if path.is_file() and not path.name.startswith("topology-")
    }
    assert files == {f"{name}.msgpack" for name in ENTRIES} | {f"{name}.json" for name in JSON}


@pytest.mark.parametrize("name", [name for name in [*ENTRIES, *JSON] if name not in FORMER])
def test_what_is_written_today_is_what_the_newest_golden_file_holds(name: str) -> None:
    if name in ENTRIES:
        assert encode_entry(ENTRIES[name]) == (GOLDEN / f"{name}.msgpack").read_bytes()
    else:
        assert encode_json(JSON[name]) == (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize(
    "kind", [*get_args(Entry), *dict.fromkeys(type(message) for message in JSON.values())]
)
def test_fields_after_the_first_with_a_default_all_have_one(kind: type[msgspec.Struct]) -> None:
    """So that a field can only be added at the end of an array, with a default."""
    required = [field.required for field in msgspec.structs.fields(kind)]
    assert required == sorted(required, reverse=True)


def test_an_entry_written_before_a_field_was_added_still_reads() -> None:
    short = msgspec.msgpack.encode(["command", "c1", "hold"])
    assert decode_entry(short) == Command("c1", "hold")


def test_an_entry_from_a_newer_version_with_a_field_more_still_reads() -> None:
    longer = msgspec.msgpack.decode(encode_entry(ENTRIES["label.v2"])) + ["new"]
    assert decode_entry(msgspec.msgpack.encode(longer)) == ENTRIES["label.v2"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        b"{}",
        msgspec.msgpack.encode(["unheard of", 1]),
        msgspec.msgpack.encode(["command", "c", "explode"]),
        b"\x93",
    ],
)
def test_bytes_that_are_no_entry_raise_one_kind_of_error(value: bytes) -> None:
    with pytest.raises(ValueError):
        decode_entry(value)


def test_a_controls_data_has_no_infinite_number_on_the_wire() -> None:
    event = JSON["control-event.v1"]
    assert b"Infinity" not in encode_json(event) and b"NaN" not in encode_json(event)
