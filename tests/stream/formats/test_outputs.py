"""Predictions in Avro: as fastavro reads them, as our own readers do, and beside those in JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream import topology
from penstock.stream.definitions import DefinitionError
from penstock.stream.formats.outputs import outputs_of
from penstock.stream.formats.unread import RegistryUnavailable
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import encode_json
from penstock.stream.prediction import ModelRef, Prediction, decode_prediction, mentions
from penstock.stream.prediction_avro import HEADER_BYTES, SCHEMA, encoded
from penstock.stream.process.settings import SettingError, Settings
from tests.schema_registry import RegistryServer
from tests.stream.formats.paid import pipeline, source

LONG = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.floats(allow_nan=False)
TEXT = st.text(max_size=5)
PREDICTIONS = st.builds(
    Prediction,
    id=TEXT,
    at=LONG,
    prediction=st.none() | NUMBER | TEXT,
    model=st.builds(ModelRef, version=TEXT, weight=NUMBER),
    recipe=TEXT,
    position=LONG,
    classes=st.none() | st.dictionaries(TEXT, NUMBER, max_size=3),
    rank=st.none() | NUMBER,
    alert=st.none() | st.booleans(),
    calibrated=st.none() | NUMBER,
    set=st.none() | st.lists(TEXT, max_size=3),
    interval=st.none() | st.tuples(st.none() | NUMBER, st.none() | NUMBER),
)
PARSED = fastavro.parse_schema(json.loads(SCHEMA))


def by_fastavro(value: bytes) -> dict[str, Any]:
    stream = io.BytesIO(value[HEADER_BYTES:])
    found: Any = fastavro.schemaless_reader(stream, PARSED, None)
    assert stream.read() == b""
    return {**found, "at": None}


@given(PREDICTIONS)
def test_a_prediction_in_avro_is_what_it_was_to_us_and_to_fastavro(said: Prediction) -> None:
    value = encoded(7, said)
    assert decode_prediction(value) == said
    if abs(said.at) < 10**13:
        expected = msgspec.to_builtins(said, order=None)
        found = by_fastavro(value)
        full = {name: None for name in found} | {"position": -1} | expected | {"at": None}
        assert found == {**full, "interval": None if said.interval is None else list(said.interval)}
    assert mentions(value, said.id) and mentions(encode_json(said), said.id)


@given(PREDICTIONS, st.data())
def test_a_body_that_is_cut_or_garbled_is_no_prediction_or_an_older_one(
    said: Prediction, data: st.DataObject
) -> None:
    value = bytearray(encoded(7, said))
    place = data.draw(st.integers(HEADER_BYTES, len(value) - 1))
    value[place] ^= data.draw(st.integers(1, 255))
    for one in (bytes(value), encoded(7, said)[:place]):
        try:
            assert isinstance(decode_prediction(one), Prediction)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass


def test_a_body_without_the_newest_fields_reads_with_their_defaults_and_a_longer_one_as_far_as_it_is_known() -> (
    None
):
    said = Prediction("p1", 5, 0.5, ModelRef("v1"), "r", 9)
    value = encoded(1, said)
    assert decode_prediction(value[:-3]) == said == decode_prediction(value + b"\2more")


def test_learn_writes_predictions_under_their_registered_schema_and_nothing_else() -> None:
    said = Prediction("p1", 5, 0.5, ModelRef("v1"), "r", 9)
    with RegistryServer() as registry:
        settings = Settings(schema_registry=registry.url, prefix="x.")
        asked = replace(pipeline(source()), output_format="avro")
        log = MemoryLog()
        topic = topology.predictions("paid", "x.")
        log.create(topic, 1)
        log.create("other", 1)
        out = outputs_of(asked, settings, log)
        assert registry.subjects == {f"{topic}-value": [1]}
        out.append([Out(topic, b"k", encode_json(said)), Out("other", None, encode_json(said))])
        reader = out.reader({(topic, 0): 0, ("other", 0): 0})
        values = {record.topic: record.value for record in reader.poll(10, 0.0)}
        assert values == {topic: encoded(1, said), "other": encode_json(said)}
        assert outputs_of(pipeline(source()), settings, log) is log
    with pytest.raises(RegistryUnavailable):
        outputs_of(asked, settings, log)
    with pytest.raises(SettingError, match="PENSTOCK_SCHEMA_REGISTRY_URL"):
        outputs_of(asked, Settings(), log)


def test_the_format_of_outputs_changes_no_recipe_and_another_is_refused() -> None:
    usual = pipeline(source())
    made = replace(usual, output_format="avro")
    assert made.digest == usual.digest
    with pytest.raises(DefinitionError, match='output_format must be "json" or "avro"'):
        replace(usual, output_format="csv")  # type: ignore[arg-type]
