"""A pipeline as frames: what they hold is what the commands say, whichever library makes them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

import penstock.frames as ps
from penstock import View, count, mean, since_last
from penstock.features.read.client import MomentPassed
from penstock.stream import cli, topology
from penstock.stream.definitions import DefinitionError
from penstock.stream.frames.table import KINDS, Kind, chosen, from_rows, table, to_rows
from penstock.stream.log.memory import MemoryLog
from penstock.stream.operate.history import history_of
from penstock.stream.prediction import decode_prediction
from penstock.stream.roles import start
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import (
    DELIVERED,
    HOUR,
    PAID,
    START_MS,
    card_events,
    cards,
    outs,
    parcel_events,
    parcels,
)
from tests.stream.naive_flow import everything
from tests.stream.roles.test_stories import EVENTS, flowed, pumps

HERE = [kind for kind in KINDS if importlib.util.find_spec({"arrow": "pyarrow"}.get(kind, kind))]
CARDS = Path(__file__).parents[3] / "examples" / "cards.py"


@pytest.fixture(scope="module")
def known() -> Iterator[ps.Frames]:
    """Two hundred parcels."""
    with ps.in_memory(parcels(), parcel_events(200), frames="arrow") as found:
        yield found


def rows_of(frame: Any) -> list[dict[str, Any]]:
    return to_rows(frame)


@pytest.mark.parametrize("kind", HERE)
def test_each_library_has_the_same_rows(kind: Kind, known: ps.Frames) -> None:
    with ps.in_memory(parcels(), parcel_events(200), frames=kind) as other:
        for name in ("training_set", "predictions", "history", "episodes"):
            mine, theirs = rows_of(getattr(known, name)()), rows_of(getattr(other, name)())
            assert [list(row) for row in mine] == [list(row) for row in theirs]
            assert [_in_ms(row) for row in mine] == [_in_ms(row) for row in theirs]
        assert [row["entity"] for row in rows_of(other.features("depot"))] == ["d0", "d1", "d2", "d3"]


def test_training_rows_are_what_export_writes(
    known: ps.Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda settings: known.log)
    monkeypatch.setattr("penstock.stream.cli.export.client", _nobody)
    monkeypatch.setattr("penstock.stream.cli.export.check_pipeline", lambda *_: None)
    assert cli.main(["export", "parcels", "--out", str(tmp_path / "rows.jsonl")]) == 0
    wanted = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    found = rows_of(known.training_set())
    assert len(found) == len(wanted) == 200
    for row, line in zip(found, wanted, strict=True):
        assert _in_ms(row) == line
    middle = START_MS + 2 * HOUR
    part = rows_of(known.training_set(middle, middle + HOUR, labelled=True))
    inside = [line for line in wanted if middle <= line["at"] < middle + HOUR and line["label"] is not None]
    assert inside and [_in_ms(row) for row in part] == inside


class _nobody:
    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _in_ms(row: dict[str, Any]) -> dict[str, Any]:
    return {n: round(v.timestamp() * 1000) if hasattr(v, "timestamp") else v for n, v in row.items()}


def test_predictions_are_those_that_were_published_with_the_labels_that_came(known: ps.Frames) -> None:
    topic = everything(known.log, topology.predictions("parcels"))
    published = [decode_prediction(record.value or b"") for record in topic]
    found = rows_of(known.predictions(labels=True))
    assert [(row["event_id"], row["prediction"], row["version"]) for row in found] == [
        (one.id, one.prediction, one.model.version) for one in published
    ]
    labels = {row["event_id"]: row["label"] for row in rows_of(known.training_set())}
    assert {row["event_id"]: row["label"] for row in found} == labels and True in labels.values()
    assert "classes" not in found[0] and "interval_low" not in found[0]


def test_features_are_those_that_readers_are_served(known: ps.Frames) -> None:
    newest = rows_of(known.features("street"))
    assert len(newest) > 20 and {row["status"] for row in newest} == {"present"}
    assert all(row["idle"] == 0.0 for row in newest), "each as of its own newest event"
    done = [event for topic, _, event in parcel_events(200) if topic == DELIVERED.name]
    for row in rows_of(known.features("depot")):
        of_depot = [event["done_at"] for event in done if event["depot"] == row["entity"]]
        assert row["at"].timestamp() * 1000 == max(of_depot)
        assert row["done_1h"] == sum(at > max(of_depot) - HOUR for at in of_depot)
    at = START_MS + 90 * 24 * HOUR
    row, nobody = rows_of(known.features("depot", ["d1", "nobody"], at=at))
    assert (row["entity"], row["done_1h"], row["at"]) == ("d1", 0.0, datetime.fromtimestamp(at / 1000, UTC))
    assert (nobody["status"], nobody["at"], nobody["done_1h"]) == ("missing", None, 0.0)
    assert rows_of(known.features("street", [("d1", "s 3|")]))[0]["entity"] == "d1|s%203%7C"
    assert len(rows_of(known.features("street", most=3))) == 3
    with pytest.raises(MomentPassed):
        known.features("depot", ["d1"], at=START_MS)
    with pytest.raises(KeyError, match="the views are depot, street, traffic"):
        known.features("road")


def test_history_and_episodes_are_what_the_commands_tell() -> None:
    broken = range(EVENTS - 3_000, EVENTS - 1_000)
    flow = flowed(1, EVENTS, broken)
    assert isinstance(flow.log, MemoryLog)
    found = ps.Frames(pumps(), flow.log, None, None, "arrow")  # type: ignore[arg-type]
    blocks = rows_of(found.history())
    assert len(blocks) > 5 and all(row["labels"] >= 500 for row in blocks)
    assert {"live_loss", "base_loss", "first_loss", "believed", "weight"} <= blocks[0].keys()
    hours = [one for one in history_of(flow.log, pumps().name) if one.kind == "hour"]
    assert [row["labels"] for row in rows_of(found.history(by="hour"))] == [
        one.counts.joined for one in hours
    ]
    (one,) = [row for row in rows_of(found.episodes()) if row["kind"] == "range"]
    assert one["over"] > one["found"] >= one["since"]
    assert one["subject"] in one["reason"]


def test_a_what_if_is_asked_of_the_same_history(known: ps.Frames) -> None:
    result = known.what_if(parcels(inputs=[]))
    whole, *months = rows_of(known.frame(result.rows))
    assert (whole["part"], whole["labels"]) == ("whole", sum(row["labels"] for row in months))
    assert len(rows_of(known.frame(result.labels()))) == whole["labels"]


def test_rows_of_a_frame_are_events_as_they_are() -> None:
    events = [event for _, _, event in card_events(40)]
    frame = table(
        from_rows([{**event, "paid_at": event["paid_at"]} for event in events]), "arrow", ["paid_at"]
    )
    of_rows, of_frame = (
        ps.in_memory(cards(), {PAID.name: given}, frames="arrow") for given in (events, frame)
    )
    mine, theirs = rows_of(of_rows.training_set()), rows_of(of_frame.training_set())
    assert len(mine) == 40 and [
        row["paid_1h"] if "paid_1h" in row else row["card.paid_1h"] for row in mine
    ] == [row["card.paid_1h"] for row in theirs]
    assert [row["key"] for row in mine] == [event["card"] for event in events]


def test_a_topic_that_is_no_source_and_shards_without_a_number_are_refused() -> None:
    with pytest.raises(DefinitionError, match="'else' is no source of 'cards'; its sources: cards.paid"):
        ps.in_memory(cards(), {"else": [{"a": 1}]}, frames="arrow")
    sharded = cards(shard_by="card", shards=2)
    with pytest.raises(DefinitionError, match="without `shard=`"):
        ps.in_memory(sharded, card_events(30), frames="arrow")
    parts = [ps.in_memory(sharded, card_events(30), shard=number, frames="arrow") for number in (0, 1)]
    ids = [{row["event_id"] for row in rows_of(part.predictions(labels=True))} for part in parts]
    assert len(ids[0] | ids[1]) == 30 == len(ids[0]) + len(ids[1])
    features = [rows_of(part.features("card")) for part in parts]
    assert features[0] == features[1] and len(features[0]) == len({card for _, card, _ in card_events(30)})
    assert sum(sum(row["labels"] for row in rows_of(part.history())) for part in parts) <= 30


def test_the_same_events_give_the_same_frames_every_time() -> None:
    first, second = (ps.in_memory(cards(), card_events(60), frames="arrow") for _ in range(2))
    for name in ("training_set", "predictions", "history"):
        assert rows_of(getattr(first, name)()) == rows_of(getattr(second, name)())


def test_a_pipeline_that_runs_is_read_and_left_as_it_is(
    valkey: redis.Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock.examples import cards_data
    from penstock.stream.definition_file import load

    flow = MemoryFlow(load(CARDS), client=start.connect(valkey_url))
    events = [one for one, _ in zip(cards_data.events(), range(120), strict=False)]
    flow.feed(outs((topic, card, fields) for topic, card, fields, _ in events))
    flow.settle()
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda settings: flow.log)
    before = {key: valkey.dump(key) for key in valkey.scan_iter()}
    with ps.connect(CARDS, redis_url=valkey_url, bootstrap="nowhere", frames="arrow") as running:
        served = rows_of(running.features("card"))
        assert len(served) == len({card for _, card, _, _ in events})
        assert len(rows_of(running.training_set())) == len(rows_of(running.predictions())) == 120
        assert rows_of(running.features("card", [served[0]["entity"]])) == served[:1]
    assert {key: valkey.dump(key) for key in valkey.scan_iter()} == before


def test_without_any_of_the_libraries_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'penstock\[notebook\]'"):
        chosen(None)
    with pytest.raises(ImportError, match="pip install polars"):
        chosen("polars")
    with pytest.raises(ValueError, match="pandas, polars, arrow, not 'excel'"):
        chosen("excel")  # type: ignore[arg-type]


def test_a_feature_may_have_any_name_and_is_a_number_all_the_same() -> None:
    view = View(
        "card", PAID, key="card", features={"at": count("1h"), "since": since_last(), "over": mean("amount")}
    )
    with ps.in_memory(cards(views=[view]), card_events(20), frames="arrow") as found:
        row = rows_of(found.features("card"))[0]
        assert list(row) == ["entity", "at", "status", "card.at", "since", "over"]
        assert (row["card.at"], row["since"]) == (1.0, 0.0) and isinstance(row["over"], float)
        assert isinstance(rows_of(found.training_set())[0]["card.since"], float | None)
