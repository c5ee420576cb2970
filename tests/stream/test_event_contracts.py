"""What stands on the control topics is a CloudEvent and fits its published schema: one golden file for each type of event.

`python -m tests.stream.test_event_contracts` writes the golden files anew, for a change that is meant.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event
from jsonschema import Draft202012Validator

from penstock.monitors.episodes import EpisodeChange, EpisodeLog, Transition
from penstock.monitors.losses.ledger import Ledger
from penstock.stream.learn.events import describe
from penstock.stream.learn.published import published
from penstock.stream.learn.stories import Stories
from penstock.stream.learn.summaries import summed_up
from penstock.stream.log.protocol import Out
from penstock.stream.messages import ControlEvent, decode_control_event, encode_json
from penstock.stream.segment_blamed import SegmentBlamed
from penstock.stream.story_records import Deed
from penstock.stream.topology import CONTROL_MODELS, EVENT_HEADERS, EVENT_TOPICS
from tests.stream.generated import HOUR, parcels
from tests.stream.learn.courses import Course, light_is_late, quick_guard, quick_losses
from tests.stream.test_messages import AT_MS, FORMER, GOLDEN, JSON

SCHEMAS = Path(__file__).parents[2] / "docs" / "pages" / "reference" / "schemas"
EVENTS = GOLDEN / "events"


@cache
def schema(name: str) -> Draft202012Validator:
    found = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def change(monitor: str, state: Any, **detail: Any) -> EpisodeChange:
    """What an episode log makes of one finding; one that is over was open before."""
    log = EpisodeLog("flights")
    subject = "dep_delay" if monitor in ("range", "psi") else "loss"
    firing = Transition(
        monitor,
        subject,
        "firing",
        31.5,
        20.0,
        0.125,
        AT_MS - 60_000,
        700,
        AT_MS,
        812,
        {"block_labels": 125, **detail},
    )
    found = log.apply(firing)
    if state == "resolved":
        found = log.apply(replace(firing, state="resolved", at_ms=AT_MS + HOUR, position=900))
    assert found is not None
    return found


def examples() -> dict[str, ControlEvent]:
    """One event of each type, as `describe` writes it."""
    shares = [{"bin": "[5, 9)", "reference": 0.1, "window": 0.4, "psi": 0.41}]
    made = {
        "retrain": (change("harm", "firing", loss=0.54, against=0.69), None, 700),
        "rollback": (change("lead", "firing", loss=0.5, against=0.4), "v3", 700),
        "promote": (change("lead", "firing", loss=0.5, against=0.4), "v7", None),
        "hold": (change("range", "firing", low=-20.0, high=300.0, value=9_000.0), None, None),
        "alert": (change("range", "firing", low=-20.0, high=300.0, value=9_000.0), None, None),
        "warn": (change("skill", "firing"), None, None),
        "note": (change("psi", "resolved", shares=shares), None, None),
    }
    models: dict[str, str | None] = {"leader": "v3", "committed": "v4"}
    losses = {"live": 0.25, "base_rate": 0.5, "margin": math.inf}
    segment = SegmentBlamed(field="carrier", value="UA", share=0.875, labels=812, usual=0.125)
    told = {
        verb: describe(
            "flights", verb, found, f"why {verb}", models, losses, target, onset, segment=segment
        ).event
        for verb, (found, target, onset) in made.items()
    }
    stories, over = Stories(), change("range", "resolved")
    story = stories.of(replace(over, transition=replace(over.transition, state="firing")))
    stories.did(Deed(what="v3 was kept", by="penstock", at=AT_MS, position=812))
    stories.of(over)
    stories.over(1 << 62)
    return {**told, "summary": summed_up("flights", story, Ledger(), models, AT_MS + 7 * HOUR, 950).event}


def course() -> Course:
    """A stream whose world turns round, and whose producer then sends nonsense."""
    with pytest.MonkeyPatch.context() as patch:
        course = Course(parcels(views=[]))
        quick_losses(course)
        quick_guard(course, patch)
        course.go(3_000)
        course.go(1_500, light_is_late)
        course.go(60, light_is_late, 9_000.0)
    return course


@cache
def run() -> list[Out]:
    """What that stream puts into topics."""
    fold = course().fold
    fold.publish("the end")
    return published(fold, 0, "predictions", "")


def control_events() -> list[Out]:
    return [out for out in run() if out.topic in set(EVENT_TOPICS.values())]


def test_there_is_a_golden_file_for_every_type_of_event_and_it_is_what_is_written_today() -> None:
    assert set(examples()) == set(EVENT_TOPICS)
    assert {path.stem for path in EVENTS.iterdir()} == set(EVENT_TOPICS)
    for verb, event in examples().items():
        golden = (EVENTS / f"{verb}.json").read_bytes()
        assert decode_control_event(golden) == decode_control_event(encode_json(event)), verb
        assert golden == encode_json(event), (
            f"{verb}: run `python -m tests.stream.test_event_contracts` if this is meant"
        )


@pytest.mark.parametrize("verb", sorted(EVENT_TOPICS))
def test_the_official_sdk_reads_every_type_of_event_from_kafka(verb: str) -> None:
    value = (EVENTS / f"{verb}.json").read_bytes()
    read = from_structured_event(KafkaMessage(dict(EVENT_HEADERS), b"flights", value))
    assert (read.get_type(), read.get_source(), read.get_specversion()) == (
        f"penstock.{verb}",
        "penstock/flights",
        "1.0",
    )
    assert read.get_datacontenttype() == "application/json"
    when = read.get_time()
    assert when is not None and when.timestamp() * 1000 == json.loads(value)["data"]["detected_at"]["at"]
    data = read.get_data()
    assert isinstance(data, dict) and data["pipeline"] == "flights"


@pytest.mark.parametrize("verb", sorted(EVENT_TOPICS))
def test_every_type_of_event_fits_the_published_schema(verb: str) -> None:
    schema("control-event").validate(json.loads((EVENTS / f"{verb}.json").read_bytes()))


def test_a_real_stream_s_events_are_cloud_events_under_the_header_that_says_so_and_no_id_stands_for_two() -> (
    None
):
    events = control_events()
    assert {decode_control_event(out.value or b"").type for out in events} >= {
        "penstock.alert",
        "penstock.note",
    }
    by_id: dict[tuple[str, str], bytes] = {}
    for out in events:
        assert out.value is not None and out.key is not None
        read = from_structured_event(KafkaMessage(dict(out.headers), out.key, out.value))
        assert by_id.setdefault((read.get_source(), read.get_id()), out.value) == out.value
        schema("control-event").validate(json.loads(out.value))


def test_a_real_stream_s_predictions_and_models_fit_their_schemas() -> None:
    named = {"predictions": "prediction", CONTROL_MODELS: "live-model"}
    for out in run()[-400:]:
        if out.topic in named:
            schema(named[out.topic]).validate(json.loads(out.value or b""))


@pytest.mark.parametrize("name", [name for name in JSON if name not in FORMER])
def test_every_golden_message_of_today_fits_its_schema(name: str) -> None:
    schema(name.split(".", maxsplit=1)[0]).validate(json.loads((GOLDEN / f"{name}.json").read_bytes()))


def test_a_schema_refuses_what_no_reader_could_use() -> None:
    event = json.loads((EVENTS / "note.json").read_bytes())
    del event["data"]["episode"]
    assert not schema("control-event").is_valid(event)


def main() -> None:
    """Write the golden files."""
    EVENTS.mkdir(exist_ok=True)
    for verb, event in examples().items():
        (EVENTS / f"{verb}.json").write_bytes(encode_json(event))


if __name__ == "__main__":
    main()
