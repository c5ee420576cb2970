"""What is not JSON, for whatever wants JSON: tools that read topics, and pipelines that are given rows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.formats import reading
from penstock.stream.formats.as_json import json_of
from penstock.stream.formats.plain import plain_json
from penstock.stream.formats.schemas import Schemas
from penstock.stream.trial.flow import TrialFlow
from tests.stream.formats.paid import Known, as_avro, as_json, pipeline, record, source
from tests.stream.formats.test_unreadable import EVENT


def test_a_record_of_any_format_is_a_json_object_and_what_is_none_is_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "own_schemas", lambda: Schemas(Known()))
    as_object = json_of(source("avro"))
    found: dict[str, Any] = json.loads(as_object(record(as_avro(EVENT))) or b"")
    assert {name: found[name] for name in EVENT} == EVENT
    assert as_object(record(as_avro(EVENT)[:-1])) is None and as_object(record(None)) is None
    assert json_of(source())(record(b"as it stands")) == b"as it stands"


def test_rows_are_json_whatever_the_format_of_their_topic_is() -> None:
    of = source("avro")
    (item,) = SourceDecoder(pipeline(of), of, rows=True).items([record(as_json(EVENT))], -1)
    assert item.event == EVENT
    (bad,) = SourceDecoder(pipeline(of), of, rows=True).items([record(b"{}")], -1)
    assert "missing required field" in (bad.reject or "") and "schema" not in (bad.reject or "")


def test_a_pipeline_over_avro_is_tested_with_events_in_json() -> None:
    of = source("avro", nulls="key")
    plain = plain_json(pipeline(of))
    assert all(one.plain for one in plain.sources) and plain_json(plain) is plain
    assert plain.digest == pipeline(source()).digest
    assert replace(plain, predict=plain.predict) == plain
    assert TrialFlow(pipeline(of)).pipeline.digest == plain.digest
