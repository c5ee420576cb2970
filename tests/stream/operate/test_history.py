"""The history topic as series: one value a record and column, episodes as bands, and the command that prints them."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream import topology
from penstock.stream.cli import main
from penstock.stream.cli.history import as_text
from penstock.stream.history_record import Counted, EpisodeThen, ExpertThen, HistoryRecord
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out, UnknownTopic
from penstock.stream.messages import encode_json
from penstock.stream.operate.history import bands, history_of, series
from penstock.stream.operate.training_set import Span
from tests.stream.generated import HOUR, START_MS


def record(number: int, **changes: Any) -> HistoryRecord:
    """The `number`-th block, two hours long."""
    given: dict[str, Any] = {
        "id": f"labels-{number}", "pipeline": "parcels", "kind": "labels", "task": "binary", "position": 10 * number,
        "at": START_MS + 2 * number * HOUR, "since_position": 10 * number - 10, "since": START_MS + 2 * (number - 1) * HOUR,
        "recipe": "0123456789ab", "live": "v1", "leader": "v1", "committed": "v0",
        "counts": Counted(samples=500, labels=480, joined=400), "judged": 400, "loss": 0.25, "base_loss": 0.5,
        "mixture_loss": 0.26, "means": {"auc": 0.875},
        "experts": [
            ExpertThen(version="base", kind="base", weight=0.1, judged=400, loss=0.5),
            ExpertThen(version="v0", kind="first", weight=0.2, judged=400, loss=0.4),
            ExpertThen(version="v1", kind="new", weight=0.7, judged=400, loss=0.3),
        ],
    }  # fmt: skip
    return HistoryRecord(**given | changes)


def episode(name: str, since: int = START_MS) -> EpisodeThen:
    return EpisodeThen(id=name, kind="range", subject="weight", since=since, since_position=7)


def written(*records: HistoryRecord, junk: bytes = b"{}") -> MemoryLog:
    log = MemoryLog()
    topic = topology.history("parcels")
    log.create(topic)
    log.append([Out(topic, b"parcels", one) for one in (junk, *map(encode_json, records))])
    return log


def test_what_is_read_is_each_record_once_in_the_order_of_the_log_and_within_the_span() -> None:
    first, second, third = record(1), record(2), record(3)
    other = msgspec.structs.replace(record(2), pipeline="other")
    log = written(second, first, second, other, third)
    assert history_of(log, "parcels") == [first, second, third]
    assert history_of(log, "parcels", span=Span(second.at, third.at)) == [second]
    with pytest.raises(UnknownTopic):
        history_of(log, "unheard")


def test_a_series_has_one_value_a_record_in_every_column() -> None:
    hour = msgspec.structs.replace(record(1), kind="hour", id="hour-1")
    held = record(2, mixture_loss=None, means={}, held=True, leader="v0", experts=record(2).experts[:2])
    found = series([record(1), hour, held])
    assert found.at == [record(1).at, held.at] and found.positions == [10, 20] and found.labels == [400, 400]
    assert found.losses == {
        "live": [0.25, 0.25], "base": [0.5, 0.5], "mixture": [0.26, None], "leader": [0.3, 0.4], "committed": [0.4, 0.4],
        "first": [0.4, 0.4],
    }  # fmt: skip
    assert found.means == {"auc": [0.875, None]}
    assert found.rates == {"samples": [250.0, 250.0], "labels": [240.0, 240.0]}
    assert found.weights == {"base": [0.1, 0.1], "v0": [0.2, 0.2], "v1": [0.7, 0.0]}
    assert found.of_kinds == {"base": [0.1, 0.1], "first": [0.2, 0.2], "new": [0.7, 0.0]}
    assert found.held == [False, True] and found.kinds == {"base": "base", "v0": "first", "v1": "new"}
    assert series([record(1), hour], by="hour").at == [hour.at]


def test_a_version_that_never_counted_has_no_column_but_its_kind_has_its_weight() -> None:
    small = ExpertThen(version="v9", kind="new", weight=0.004)
    found = series([record(1, experts=[*record(1).experts, small])])
    assert "v9" not in found.weights and "v9" not in found.kinds
    assert found.of_kinds["new"] == [0.704]


def test_nothing_is_said_where_there_is_nothing() -> None:
    found = series([])
    assert found.at == [] and found.bands == [] and found.weights == {} and found.losses["live"] == []
    assert series([record(1, since=record(1).at)]).rates["samples"] == [None]


@given(st.lists(st.sets(st.sampled_from("abc")), max_size=12))
def test_an_episode_is_open_in_a_record_just_where_one_of_its_bands_covers_it(course: list[set[str]]) -> None:
    records = [
        record(number, episodes=[episode(name, record(number).since) for name in sorted(names)])
        for number, names in enumerate(course)
    ]
    found = bands(records)
    for one in records:
        covering = {band.id for band in found if band.since < one.at and (band.until or 1 << 62) > one.at}
        assert covering == {named.id for named in one.episodes}
    assert len({(band.id, band.since) for band in found}) == len(found)


def test_a_band_begins_at_its_onset_and_ends_with_the_first_record_that_names_it_no_more() -> None:
    onset = START_MS - 5
    records = [
        record(1, episodes=[episode("e", onset)]),
        record(2),
        record(3, episodes=[episode("e", onset)]),
    ]
    first, again = bands(records)
    assert (first.since, first.since_position, first.until) == (onset, 7, record(2).at)
    assert (again.since, again.since_position, again.until) == (record(3).since, 20, None)


def test_the_table_has_a_line_a_record_and_says_what_is_open() -> None:
    records = [record(1), record(2, episodes=[episode("e")], held=True)]
    head, first, second = as_text(records, series(records))
    assert head.split() == [
        "until", "labels", "an", "hour", "waiting", "live", "base", "passive", "AUC", "believed", "weight", "open",
    ]  # fmt: skip
    assert first.split()[2:] == "400 250 0 0.2500 0.5000 0.4000 0.8750 v1 70%".split()
    assert second.endswith("range of weight, held")


def test_columns_in_which_nothing_can_be_said_are_left_out() -> None:
    experts = [ExpertThen(version="v1", kind="first", weight=1.0)]
    hours = [record(1, kind="hour", experts=experts, means={}, loss=None, base_loss=None)]
    head, line = as_text(hours, series(hours, by="hour"))
    assert head.split() == ["until", "labels", "an", "hour", "waiting", "believed", "weight", "open"]
    assert line.split()[2:] == ["400", "250", "0", "v1", "100%"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """Let commands read a log in memory."""
    given = Namespace(log=written(record(1), record(2)))
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda _settings: given.log)
    return given


def test_the_command_prints_the_same_figures_as_the_series(
    opened: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", "parcels"]) == 0
    assert capsys.readouterr().out.count("\n") == 3
    assert main(["history", "parcels", "--json", "--to", str(record(2).at)]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = json.loads(json.dumps(series([record(1)]).as_json()))
    assert told == {"pipeline": "parcels", "by": "labels", "series": expected}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["unheard"], "topic 'unheard.history' does not exist"),
        (
            ["parcels", "--by", "hour"],
            "no hour of 'parcels' ends in this range; there are blocks: --by labels",
        ),
        (
            ["parcels", "--to", "1000"],
            "no block of labels of 'parcels' ends in this range: learn has written none",
        ),
        (["parcels", "--from", "yesterday"], "start"),
    ],
)
def test_where_there_is_nothing_to_print_it_says_why(
    opened: Namespace, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert main(["history", *given]) == 2
    assert said in capsys.readouterr().err
