"""`penstock size`: what it says beside what a real flow in memory took, on loads that it was not measured with."""

from __future__ import annotations

import gc
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.features.redis.keys import public_key, state_key
from penstock.stream import cli
from penstock.stream.cli.size import own_events
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out, record_bytes
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.sizing import constants
from penstock.stream.sizing.estimate import Asked, size_of
from penstock.stream.sizing.made_events import Rate, made_events
from penstock.stream.sizing.measure import longest_ms, measure, planned, timed

ROOT = Path(__file__).parents[3]
EXAMPLES = ["cards", "flights", "flights_classes", "flights_delay", "flights_unusual"]


def cards() -> Pipeline:
    return load(ROOT / "examples" / "cards.py")


def payments(number: int, entities: int, step_ms: int, seed: int) -> Iterator[Out]:
    """Payments with names and amounts of their own, of customers of whom a fifth makes four fifths."""
    chance = random.Random(seed)
    weights = [chance.paretovariate(1.16) for _ in range(entities)]
    for n in range(number):
        card = f"{4000 + chance.choices(range(entities), weights)[0]:016d}"
        event = {
            "payment_id": f"{chance.getrandbits(48):012x}", "paid_at": 1_735_689_600_000 + n * step_ms, "card": card,
            "amount": round(chance.lognormvariate(3, 1), 2), "hour": n % 24, "online": n % 2, "fraud": chance.random() < 0.02,
        }  # fmt: skip
        yield Out("cards.payments", card.encode(), json.dumps(event).encode())


@pytest.mark.long
@pytest.mark.parametrize(
    ("events", "entities", "step_ms"), [(12_000, 300, 60_000), (20_000, 5_000, 40_000)], ids=["few", "many"]
)
def test_bytes_are_within_a_quarter_of_what_a_real_flow_writes(
    events: int, entities: int, step_ms: int
) -> None:
    pipeline = cards()
    outs = list(payments(events, entities, step_ms, seed=7))
    flow = MemoryFlow(pipeline, partitions=3, clock=lambda: 10**13)
    for at in range(0, len(outs), 1_000):
        flow.feed(outs[at : at + 1_000])
        flow.settle()
    flow.close()
    rate = 1000 / step_ms
    active = len({out.key for out in outs})
    asked = Asked(rate, {"card": active}, rate, None)
    size = size_of(pipeline, asked, measure(pipeline, rate, asked.entities))

    log = flow.log
    assert isinstance(log, MemoryLog)
    days = events * step_ms / 86_400_000
    for topic in ("cards.payments", "cards.samples", "cards.predictions"):
        bytes_ = 0
        for partition in range(log.partitions(topic)):
            start, end = log.bounds([(topic, partition)])[topic, partition]
            reader = log.reader({(topic, partition): start})
            records = []
            while len(records) < end - start:
                records += reader.poll(10_000, 0.0)
            bytes_ += sum(record_bytes(Out(topic, one.key, one.value, one.headers)) for one in records)
        assert size.kafka_bytes_a_day[topic] == pytest.approx(bytes_ / days, rel=0.25), topic

    view = pipeline.views[0]
    ours = [state_key("cards", str(part), "card", view.version, "") for part in range(3)] + [
        public_key("cards", "card", "")
    ]
    found = {key: value for key, value in flow.server.data.items() if key.startswith(tuple(ours))}
    total = sum(len(key) + len(value) + constants.REDIS_KEY_BYTES for key, value in found.items())
    assert size.redis_bytes["card"] == pytest.approx(total, rel=0.25)


@pytest.mark.parametrize("name", EXAMPLES)
def test_events_are_made_up_for_every_example_and_every_part_of_it_is_weighed(name: str) -> None:
    pipeline = load(ROOT / "examples" / f"{name}.py")
    found = measure(pipeline, 50.0, {view.name: 40 for view in pipeline.views}, most_events=600)
    assert all(bytes_ > 100 for bytes_ in found.entity_bytes.values()), found.entity_bytes
    assert all(bytes_ > 0 for bytes_ in found.record_bytes.values()), found.record_bytes
    assert found.featurize_us > 0 and found.learn_us > 0


def test_the_same_definition_gives_the_same_events_and_the_same_bytes() -> None:
    pipeline = cards()
    rate = Rate(200, 1000.0, {"card": 9}, 1.0)
    assert list(made_events(pipeline, rate)) == list(made_events(pipeline, rate))
    first, second = (measure(pipeline, 5.0, {"card": 100}, most_events=500) for _ in range(2))
    assert first.entity_bytes == second.entity_bytes and first.record_bytes == second.record_bytes


def test_a_plan_fills_the_longest_window_however_fast_events_come() -> None:
    pipeline = cards()
    horizon_ms = longest_ms(pipeline)
    assert horizon_ms == 7 * 86_400_000
    for rate, entities in ((0.01, 10), (100.0, 100), (10_000.0, 3), (50_000.0, 1_000_000)):
        plan, filled = planned(pipeline, rate, {"card": entities}, 1.0, 12_000)
        per_entity_s = plan.events * plan.step_ms / 1000 / plan.entities["card"]
        assert plan.events <= 12_000 and filled == 1.0
        assert plan.events * plan.step_ms >= horizon_ms * 0.99, (rate, entities, per_entity_s)


def test_more_events_cost_more_and_more_workers_only_where_they_share() -> None:
    pipeline = cards()
    found = measure(pipeline, 100.0, {"card": 100}, most_events=600)._replace(
        featurize_us=20.0, learn_us=50.0
    )

    def size(rate: float, **given: float):  # type: ignore[no-untyped-def]
        return size_of(pipeline, Asked(rate, {"card": 100}, rate, given.get("days")), found)

    idle, each = constants.IDLE_CORES["learn"], (50.0 + constants.LEARN_CLIENTS_US) / 1e6
    assert size(1_000).cores["learn"] == pytest.approx(idle + 1_000 * each) and size(1_000).shards == 1
    assert size(1_000).us_per_event["featurize"] == pytest.approx(20.0 + constants.FEATURIZE_CLIENTS_US)
    assert size(100_000).workers["featurize"] == 5 and size(100_000).shards == 11
    wanted = f"learn wants {idle + 100_000 * each:.2f} of a core"
    assert any(wanted in line for line in size(100_000).said) and not size(1_000).said
    assert (
        size(10, days=2).kafka_bytes_kept["cards.samples"] == 2 * size(10).kafka_bytes_a_day["cards.samples"]
    )
    assert size(10).kafka_bytes_kept["cards.samples"] is None
    one_task = load(ROOT / "examples" / "flights.py")
    flights = measure(one_task, 100.0, {view.name: 40 for view in one_task.views}, most_events=400)
    fast = size_of(one_task, Asked(1e6, {view.name: 40 for view in one_task.views}, 1e6, None), flights)
    assert fast.workers["featurize"] == 1 and "runs as one worker" in fast.said[0]


def test_what_is_timed_comes_as_fast_as_asked_of_as_many_entities_and_is_no_repeat() -> None:
    """What goes by event time, such as ticks, would else count once an event, however many come in a second."""
    filling, _ = planned(cards(), 2_000.0, {"card": 2_000}, 1.0, 12_000)
    assert filling.step_ms > 10_000
    rate = timed(filling, 2_000.0, {"card": 2_000})
    assert rate.step_ms == 0.5 and rate.entities == {"card": 2_000}
    first, second = (
        [json.loads(out.value or b"") for out in made_events(cards(), one)] for one in (filling, rate)
    )
    assert not {one["payment_id"] for one in first} & {one["payment_id"] for one in second}
    assert max(one["paid_at"] for one in first) <= min(one["paid_at"] for one in second)
    most = Counter(one["card"] for one in second).most_common(1)[0][0]
    assert most in {one["card"] for one in first}, "who comes most has full windows"


def test_own_events_are_of_all_sources_and_each_line_goes_where_its_time_says(tmp_path: Path) -> None:
    flights, own = load(ROOT / "examples" / "flights.py"), tmp_path / "own.ndjson"
    left = {"flight_id": "f1", "departs_at": 1, "tail": "N1"}
    own.write_text("\n".join(map(json.dumps, (left, {"flight_id": "f1", "landed_at": 2, "tail": "N1"}))))
    assert [(out.topic, out.key) for out in own_events(flights, own)] == [
        ("flights.departures", b"N1"),
        ("flights.arrivals", b"N1"),
    ]
    own.write_text(json.dumps(left) + '\n{"flight_id": "f2"}')
    with pytest.raises(
        SettingError, match="line 2 cannot be used .no source of the definition has such an id and a time"
    ):
        own_events(flights, own)


def test_the_collector_is_left_as_it_was() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    measure(cards(), 5.0, {"card": 10}, most_events=100)
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


@pytest.mark.long
def test_the_command_prints_for_people_and_programs_and_refuses_what_it_cannot_use(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = str(ROOT / "examples" / "cards.py")
    given = ["size", file, "--events-per-s", "10", "--entities", "500"]
    own = tmp_path / "own.ndjson"
    own.write_text("\n".join((out.value or b"").decode() for out in payments(300, 9, 1_000, 3)))
    assert cli.main([*given, "--events", str(own)]) == 0
    told = capsys.readouterr().out
    assert "Workers: featurize 1, learn 1" in told
    estimates = {line.split()[0] for line in told.splitlines() if line.endswith("(an estimate)")}
    assert estimates == {"kafka", "redis"}
    assert cli.main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["redis_bytes"]["card"] > 100_000
    for more, said in (
        (["--entities", "cart=3"], "there is no view 'cart'; there are: card"),
        (["--labels-per-s", "11"], "an event has one label at most"),
        (["--events", str(tmp_path / "none")], "cannot be used"),
        (["--events-per-s", "0"], "must be above 0"),
    ):
        assert cli.main([*given, *more]) == 2
        assert said in capsys.readouterr().err
    assert Settings().prefix == ""
