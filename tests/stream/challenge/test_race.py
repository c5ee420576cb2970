"""A race beside the live model: judged fairly, entered through the log, found again by a replay."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from river import dummy, linear_model, naive_bayes, preprocessing, stats, tree

from penstock import grid
from penstock.stream import topology
from penstock.stream.challenge.race import Race, Runner
from penstock.stream.challenge.worker import ChallengeWorker
from penstock.stream.definitions import DefinitionError, Label, Pipeline, Source
from penstock.stream.learn.entries import entries
from penstock.stream.learn.learner import at_once, training
from penstock.stream.learn.replay import replay
from penstock.stream.log.protocol import LogUnavailable, Out
from penstock.stream.messages import Command, LabelRecord, Origin, Sample
from penstock.stream.models.digest import digest
from penstock.stream.process.settings import Settings
from penstock.stream.recipes import RecipeHistory
from penstock.stream.roles import challenge
from penstock.stream.roles import start as roles
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import MINUTE, START_MS

READ = Source("pumps.read", id="reading", time="at", key="pump")


def pumps(challengers: dict[str, Any]) -> Pipeline:
    return Pipeline(
        "pumps",
        views=[],
        predict=READ,
        inputs=["flow", "heat"],
        label=Label(READ, lambda e: e["failed"], wait="1h", fields=("failed",)),
        model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        challengers=challengers,
    )


def tree_model() -> Any:
    return tree.HoeffdingTreeClassifier(grace_period=50, delta=1e-3)


def readings(count: int, seed: int = 5) -> Iterator[Out]:
    """Pumps fail where flow and heat have one sign: no linear model can tell."""
    chance = random.Random(seed)
    for number in range(count):
        flow, heat = chance.uniform(-1, 1), chance.uniform(-1, 1)
        event = {
            "reading": f"r{number}", "pump": f"p{number % 7}", "at": START_MS + number * MINUTE, "flow": flow, "heat": heat,
            "failed": (flow > 0) == (heat > 0),
        }  # fmt: skip
        yield Out(READ.name, event["pump"].encode(), json.dumps(event).encode())


def flowed(pipeline: Pipeline, count: int = 6_000) -> MemoryFlow:
    flow = MemoryFlow(pipeline, partitions=1)
    outs = list(readings(count))
    for start in range(0, count, 500):
        flow.feed(outs[start : start + 500])
        flow.settle()
    return flow


@pytest.fixture(scope="module")
def raced() -> MemoryFlow:
    flow = flowed(pumps({"tree": tree_model(), "bayes": naive_bayes.GaussianNB()}))
    assert flow.challenge is not None
    flow.challenge.close()  # else it would be in the group, and other tests' workers wait for it
    return flow


def live_loss(flow: MemoryFlow) -> float:
    assert flow.learn.fold is not None
    counts = flow.learn.fold.counts
    return counts.live_loss / counts.joined


def commands(flow: MemoryFlow) -> list[Command]:
    topic = topology.samples("pumps")
    end = flow.log.bounds([(topic, 0)])[(topic, 0)][1]
    return [entry for _, entry in entries(flow.log, topic, 0, end) if isinstance(entry, Command)]


def test_a_challenger_that_wins_takes_part_and_the_live_loss_falls(raced):
    fold = raced.learn.fold
    assert fold is not None
    assert {one.kind for one in fold.experts.models} >= {"first", "challenger"}
    assert fold.experts.leader.kind == "challenger" or fold.experts.leader.parent.startswith("challenger")
    assert [one.challenger for one in commands(raced)][0] in ("tree", "bayes")
    without = flowed(pumps({}))
    assert live_loss(raced) < 0.8 * live_loss(without)


def test_a_replay_of_the_log_alone_finds_the_same_models(raced):
    fold = raced.learn.fold
    assert fold is not None
    again = replay(raced.pipeline, raced.log, topology.samples("pumps"))
    assert again.digest() == fold.digest()
    assert [one.version for one in again.experts.models] == [one.version for one in fold.experts.models]
    assert any(command.challenger for command in commands(raced))


def test_a_runners_model_is_what_its_stretch_of_the_log_makes_of_a_fresh_one(raced):
    topic, challenge = topology.samples("pumps"), raced.challenge
    assert challenge is not None
    for runner in challenge.race.runners:
        if not runner.name:
            continue
        fresh = raced.pipeline.challengers[runner.name].clone()
        history = RecipeHistory(raced.pipeline.digest, raced.pipeline.vector_names)
        read = entries(raced.log, topic, runner.start, challenge.race.position)
        trained = at_once(training(fresh, history, raced.pipeline, read, learn_from=runner.start))
        assert digest(trained.model) == digest(runner.model)
        assert trained.labels == runner.labels


def sample(number: int, x: list[float]) -> Sample:
    return Sample(Origin("t", 0, number), f"r{number}", "p", START_MS + number * MINUTE, list(x))


def label(number: int, y: bool) -> LabelRecord:
    return LabelRecord(Origin("t", 1, number, 1), f"r{number}", START_MS + number * MINUTE, y)


def test_a_runner_is_judged_by_what_it_said_at_the_sample_and_not_by_what_it_would_say_at_the_label():
    pipeline = pumps({"prior": dummy.PriorClassifier()})
    race = Race(pipeline, pipeline.challengers, lambda: 0.0)
    race.enter(Runner("prior", dummy.PriorClassifier(), 0))
    seen, losses, position = stats.Mean(), [], 0
    chance = random.Random(1)
    truth = [chance.random() < 0.8 for _ in range(400)]
    said: list[float] = []
    for number, y in enumerate(truth):
        race.step(position, sample(number, [0.0, 0.0]))
        said.append(seen.get() if seen.n else 0.5)
        position += 1
        if number >= 50:  # labels come 50 samples late
            early = number - 50
            race.step(position, label(early, truth[early]))
            losses.append(said[early] if truth[early] else 1.0 - said[early])
            seen.update(truth[early])
            position += 1
        assert y in (True, False)
    runner = race.runners[1]
    from math import log

    expected = sum(-log(min(max(p, 0.002), 0.998)) for p in losses)
    assert runner.judged == len(losses)
    assert runner.loss == pytest.approx(expected, rel=0.02)


@pytest.fixture
def begun() -> Iterator[Callable[..., ChallengeWorker]]:
    """Makes workers, which leave their group at the end: who is in it and does not poll keeps the others waiting."""
    with ExitStack() as ends:

        def begin(*given: Any, **more: Any) -> ChallengeWorker:
            made = ChallengeWorker(*given, **more)
            ends.callback(made.close)
            return made

        yield begin


NO_CLOCKS: tuple[Any, ...] = (lambda: 0.0, lambda: 0.0, lambda _s: None)


def costly(made: ChallengeWorker, cost: dict[str, float]) -> ChallengeWorker:
    made.rate = 100.0  # samples a second
    for name in made.pipeline.challengers:
        made.race.costs[name] = cost[name], 0.0
    return made


def test_who_does_not_fit_into_the_share_of_cpu_waits_its_turn_and_gets_it(raced, begun, monkeypatch):
    monkeypatch.setattr("penstock.stream.challenge.race.SETTLED_LABELS", 600)
    pipeline = replace(raced.pipeline, challengers={name: tree_model() for name in "abc"}, race_cpu=0.5)
    made = costly(begun(pipeline, raced.log, raced.models, *NO_CLOCKS), {"a": 0.002, "b": 0.0015, "c": 0.003})
    ran: set[str] = set()
    for _ in range(60):
        made.process_batch(0.0)
        if made.catching_up is None:
            made._look()
        running = [one.name for one in made.race.runners[1:]]
        ran |= set(running)
        costs = sum(one.cost_s for one in made.race.runners)
        assert costs * 100.0 <= 0.8 * 0.5 + 1e-9 or len(made.race.runners) == 2
    assert ran == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("challengers", "why"),
    [
        ({"tree": preprocessing.StandardScaler()}, "must be a river"),
        ({"1st": tree_model()}, "starts with a letter"),
        ([tree_model()], "models by name"),
    ],
)
def test_challengers_that_cannot_race_are_refused(challengers, why):
    with pytest.raises(DefinitionError, match=why):
        pumps(challengers)


def test_an_adopt_of_a_challenger_that_the_definition_does_not_have_is_refused(raced):
    flow = flowed(pumps({}), 50)
    fold = flow.learn.fold
    assert fold is not None
    fold.step(fold.position, Command("adopt-x", "adopt", challenger="tree", version="challenger-tree-1.abc"))
    assert "no challenger 'tree'" in fold.refused["adopt-x"]


def test_a_grid_names_every_combination():
    made = grid(
        lambda lr, l2: linear_model.LogisticRegression(l2=l2, intercept_lr=lr), "lin", lr=[0.1, 1], l2=[0.0]
    )
    assert list(made) == ["lin-lr_0_1-l2_0_0", "lin-lr_1-l2_0_0"]
    assert made["lin-lr_0_1-l2_0_0"].intercept_lr.get(1) == 0.1


def test_a_challenger_whose_catching_up_breaks_off_begins_it_again(raced, begun):
    made = begun(raced.pipeline, raced.log, raced.models, *NO_CLOCKS)
    while made.catching_up is None:
        made.process_batch(0.0)
    name = made.catching_up[0].name

    def broken():
        raise LogUnavailable("the broker is away")
        yield 0

    made.catching_up = made.catching_up[0], broken()
    made.process_batch(0.0)
    assert made.catching_up is None and made.race.waiting[0] == name and not made.in_touch
    while name not in [one.name for one in made.race.runners]:
        made.process_batch(0.0)
        if made.catching_up is None and name in made.race.waiting:
            made._look()


def test_what_was_spent_beyond_the_share_is_waited_for_a_little_at_a_time(raced, begun):
    waits: list[float] = []
    cpu = iter(range(0, 10_000, 10))
    pipeline = replace(raced.pipeline, race_cpu=0.1)
    made = begun(
        pipeline, raced.log, raced.models, lambda: float(next(cpu)), lambda: sum(waits), waits.append
    )
    assert made.process_batch(0.0) > 0 and waits == []
    assert made.process_batch(0.0) == 0 and waits == [1.0]
    while not made.process_batch(0.0):
        pass
    assert 90.0 <= sum(waits) and max(waits) == 1.0


def test_a_second_worker_waits_until_the_first_is_gone_and_begins_near_the_end_of_the_log_of_then(
    raced, begun, monkeypatch
):
    monkeypatch.setattr("penstock.stream.challenge.worker.BACKFILL_RECORDS", 500)
    first = begun(raced.pipeline, raced.log, raced.models, *NO_CLOCKS)
    second = begun(raced.pipeline, raced.log, raced.models, *NO_CLOCKS)
    for _ in range(5):
        assert second.process_batch(0.0) == 0
        first.process_batch(0.0)
    assert first.assigned and first.race.position > 0
    assert not second.assigned and second.start is None and second.in_touch
    raced.log.append([Out(topology.samples("pumps"), None, b"of nobody", (), 0)])
    end = raced.log.bounds([(topology.samples("pumps"), 0)])[topology.samples("pumps"), 0][1]
    first.close()
    turns = [second.process_batch(0.0) for _ in range(20)]
    assert second.assigned and second.start == end - 500 and sum(turns) >= 500


def test_a_worker_that_is_thrown_out_of_its_group_goes_on_where_its_race_stands(raced, begun):
    made, other = (begun(raced.pipeline, raced.log, raced.models, *NO_CLOCKS) for _ in range(2))
    while not (made.positioned and made.race.position > 3_000):
        made.process_batch(0.0)
        other.process_batch(0.0)
    other.close()
    stood, labels = made.race.position, made.race.labels
    raced.log.expel(made.member)
    while made.race.position == stood or made.catching_up is not None:
        made.process_batch(0.0)
    assert made.race.labels > labels and made.start == 0
    seen: list[int] = []
    made.race.step = lambda position, entry: seen.append(position)  # type: ignore[method-assign]
    begins = made.race.position
    while not seen:
        made.process_batch(0.0)
    assert seen[0] == begins


def test_the_role_gives_way_to_whatever_else_wants_the_cpu(raced, monkeypatch):
    class Enough(Exception): ...

    def no_server(_settings: Settings) -> None:
        raise Enough

    gave: list[int] = []
    monkeypatch.setattr(challenge.os, "nice", gave.append)
    monkeypatch.setattr(roles, "until_told", lambda _: lambda: True)
    monkeypatch.setattr(roles, "open_redis", no_server)
    with pytest.raises(Enough):
        challenge.run_challenge(raced.pipeline, Settings())
    assert gave == [challenge.RACE_NICE] and challenge.RACE_NICE > 0
