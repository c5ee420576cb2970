"""The shell around the race: reads the samples log at the CPU share it may spend, and asks that winners take part in learn.

Laws of this file:
- It writes two things: versions of models, and the `adopt` commands that name them. It commits nothing, and nobody waits for it.
- It is a member of a group of its own, so that others see that it runs: a second one waits until the first is gone.
- A challenger whose turn comes learns what it missed before the race goes on, so that it stands where all others stand.
- How many run follows from what they cost, how fast samples arrive, and the share: what does not fit waits its turn.
- Started again, the race begins anew at most `BACKFILL_RECORDS` before the log's end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Protocol

from penstock.stream import topology
from penstock.stream.challenge.race import Race, Runner
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.entries import entries, entry_of
from penstock.stream.learn.learner import Trained, training
from penstock.stream.log.protocol import AppendFailed, Log, LogUnavailable, Out, Record
from penstock.stream.messages import Command, decode_live_model, encode_entry
from penstock.stream.models.digest import digest
from penstock.stream.models.store import ModelStore
from penstock.stream.models.version import CHALLENGER, Version, challenger_of, dump
from penstock.stream.recipes import RecipeHistory

logger = logging.getLogger("penstock.challenge")

BATCH_RECORDS = 1_500
BACKFILL_RECORDS = 400_000
"""What the race reads of the log that was there before it."""
TURN_RECORDS = 40_000
"""What a challenger reads of the log when its turn comes."""
RATE_OVER_S = 20.0
MOST_WAIT_S = 1.0
"""A role that waits longer than this at a time would look as if it hung, and be slow to stop."""
FILLED = 0.8
"""Of the CPU share, so much is given to runners; the rest is for reading and for those that catch up."""


class ChallengeHealth(Protocol):
    """What the worker tells its metrics page, once a turn."""

    def batch(self, worker: ChallengeWorker) -> None:
        """Called after every turn of the loop."""


class ChallengeWorker:
    """One race beside one pipeline. `cpu_s` gives this process's CPU seconds, `wall_s` a clock, `sleep` waits."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        models: ModelStore,
        cpu_s: Callable[[], float],
        wall_s: Callable[[], float],
        sleep: Callable[[float], None],
        *,
        prefix: str = "",
        instance_id: str | None = None,
        health: ChallengeHealth | None = None,
    ) -> None:
        self.pipeline, self.log, self.models, self.prefix, self.health = pipeline, log, models, prefix, health
        self.cpu_s, self.wall_s, self.sleep = cpu_s, wall_s, sleep
        self.topic = topology.samples(pipeline.name, prefix)
        self.tp = (self.topic, 0)
        self.live_topic = prefix + topology.CONTROL_MODELS
        self.race = Race(pipeline, pipeline.challengers, cpu_s)
        self.start: int | None = None
        self.member = log.member(
            topology.consumer_group(pipeline.name, "challenge", prefix), [self.topic], instance_id=instance_id
        )
        self.assigned = self.positioned = False
        self.unfolded: list[Record] = []
        self.live = log.reader({(self.live_topic, p): 0 for p in range(log.partitions(self.live_topic))})
        self.inside: frozenset[str] = frozenset()
        self.catching_up: tuple[Runner, Generator[int, None, Trained]] | None = None
        self.looked_at = 0
        self.spent_s, self.began_s = 0.0, wall_s()
        self.rate = 0.0
        self.seen_end: tuple[float, int] = (self.began_s, log.bounds([self.tp])[self.tp][1])
        self.entered = 0
        self.in_touch = False

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def process_batch(self, timeout_s: float) -> int:
        """Read once and fold what came, or let who catches up go on; how many records that were."""
        if self._waits_for_its_share():
            return 0
        began = self.cpu_s()
        try:
            records = self._poll(timeout_s)
            read = self._catch_up() if self.catching_up is not None else self._fold(records)
            self.in_touch = True
        except (LogUnavailable, AppendFailed) as error:
            logger.warning("%s; trying again", error)
            read, self.in_touch = 0, False
            if self.catching_up is not None:  # reading broke off, and cannot go on where it was
                self.race.waiting.insert(0, self.catching_up[0].name)
                self.catching_up = None
        self.spent_s += self.cpu_s() - began
        if self.health is not None:
            self.health.batch(self)
        return read

    def _waits_for_its_share(self) -> bool:
        """Wait where turns took more CPU than the share, a little at a time; what was not spent is not saved for later."""
        now = self.wall_s()
        ahead_s = self.spent_s / self.pipeline.race_cpu - (now - self.began_s)
        if ahead_s < -1.0:
            self.spent_s, self.began_s = 0.0, now
        if ahead_s <= 0.0:
            return False
        self.sleep(min(ahead_s, MOST_WAIT_S))
        if self.health is not None:
            self.health.batch(self)
        return True

    def _poll(self, timeout_s: float) -> list[Record]:
        """The next records; who was given the log begins the race, or goes on with it."""
        if self.catching_up is not None:  # a member that does not poll would be put out of its group
            self.unfolded += self.member.poll(1, 0.0)
            records = []
        else:
            records, self.unfolded = self.unfolded or self.member.poll(BATCH_RECORDS, timeout_s), []
        change = self.member.take_assignment()
        if change is not None:
            self.assigned, self.positioned, self.unfolded = bool(change.assigned), False, []
        if self.positioned or not self.assigned:
            return records if self.positioned else []
        self._take_up()
        return [] if self.catching_up is not None else self.member.poll(BATCH_RECORDS, timeout_s)

    def _take_up(self) -> None:
        """Read on where the race stands; one that has not begun begins so far before the log's end."""
        if self.start is None:
            start, end = self.log.bounds([self.tp])[self.tp]
            self.start = max(start, end - BACKFILL_RECORDS)
            self.race.position = self.race.runners[0].start = self.start
        self.member.start_at({self.tp: self.race.position})
        self.positioned = True

    def _fold(self, records: list[Record]) -> int:
        race = self.race
        for record in records:
            entry = entry_of(record.value)
            if entry is not None:
                race.step(record.offset, entry)
        if self.positioned and race.looks(self.looked_at):
            self.looked_at = race.labels
            self._look()
        return len(records)

    def _look(self) -> None:
        """Ask for who carries weight, and change who runs."""
        self._look_inside()
        self._measure()
        race = self.race
        found = race.asks(self.inside)
        if found is not None:
            self._enter_live(found)
        if not self._fits(None) and len(race.runners) > 2:
            spared = [one for one in race.runners if one.name and one.name not in self.inside]
            worst = max(spared, key=lambda one: one.cost_s * (1.0 - race.weight(one)), default=None)
            if worst is not None:
                logger.info("%s waits: the race takes more than its share of CPU", worst.name)
                race.stop(worst)
            return
        if not race.waiting:
            return
        name = race.waiting[0]
        while not self._fits(name) and len(race.runners) > 1:
            light = race.lightest(self.inside)
            if light is None:
                return
            logger.info("%s waits: %s takes its turn", light.name, name)
            race.stop(light)
        self._begin(name)

    def _begin(self, name: str) -> None:
        """Let a challenger learn what it missed: the newest `TURN_RECORDS`, or as much as the race itself has read."""
        stop = self.race.position
        start = max(self.start or 0, stop - TURN_RECORDS)
        self.race.waiting.remove(name)
        runner, task = Runner(name, self.race.fresh(name), start), self.race.task
        history = RecipeHistory(self.pipeline.digest, self.pipeline.vector_names)
        read = entries(self.log, self.topic, start, stop)
        slices = training(
            runner.model,
            history,
            self.pipeline,
            read,
            learn_from=start,
            learn=task.learn,
            knows=task.knows,
        )
        self.catching_up = runner, slices

    def _catch_up(self) -> int:
        assert self.catching_up is not None, "asked for only while one catches up"
        runner, slices = self.catching_up
        try:
            return next(slices)
        except StopIteration as done:
            runner.model, runner.labels = done.value.model, done.value.labels
            self.race.enter(runner)
            self.catching_up = None
            return 1

    def _measure(self) -> None:
        """How fast samples arrive, over the last `RATE_OVER_S` of the log's growth."""
        now, (_, end) = self.wall_s(), self.log.bounds([self.tp])[self.tp]
        since, before = self.seen_end
        if now - since >= RATE_OVER_S or self.rate == 0.0 and now > since:
            self.rate = (end - before) / 2.0 / (now - since)  # a sample and its label
            self.seen_end = now, end

    def _fits(self, name: str | None) -> bool:
        """Whether those who run, and this one with them, keep pace with the samples within the share."""
        race = self.race
        costs = [one.cost_s for one in race.runners]
        if name is not None:
            known = [one for one in (*map(sum, race.costs.values()), *costs) if one]
            usual = sum(known) / len(known) if known else 0.0
            costs.append(sum(race.costs[name]) if name in race.costs else usual)
        return self.rate * sum(costs) <= FILLED * self.pipeline.race_cpu

    # -- learn -------------------------------------------------------------------------------------------------------------

    def _look_inside(self) -> None:
        """Which challengers take part in the live fold, as learn last said."""
        while records := self.live.poll(BATCH_RECORDS, 0.0):
            for record in records:
                try:
                    said = decode_live_model(record.value or b"")
                except (ValueError, RecursionError):
                    continue
                if said.pipeline == self.pipeline.name:
                    names = (challenger_of(one.parent) for one in said.experts)
                    self.inside = frozenset(name for name in names if name)

    def _enter_live(self, runner: Runner) -> None:
        """Store the challenger as it is now, and ask learn to let it take part."""
        race = self.race
        runner.asked = race.labels
        made = digest(runner.model)
        place = f"{runner.name}-{race.position}"
        why = f"challenger {runner.name}: {race.weight(runner):.0%} of the race's weight after {runner.judged:,} labels"
        version = Version(
            id=f"{CHALLENGER}{place}.{made[:6]}",
            pipeline=self.pipeline.name,
            parent=None,
            kind="challenger",
            position=race.position,
            join_from=race.joins_from(runner),
            at=race.join.clock,
            labels=runner.labels,
            recipe=self.pipeline.digest,
            digest=made,
            why=why,
        )
        self.models.put(version, dump(runner.model))
        command = Command(
            id=f"adopt-{CHALLENGER}{place}",
            verb="adopt",
            reason=why,
            by="race",
            version=version.id,
            from_position=runner.start,
            trained_to=race.position,
            digest=made,
            join_from=version.join_from,
            challenger=runner.name,
        )
        self.log.append([Out(self.topic, self.pipeline.name.encode(), encode_entry(command), (), 0)])
        self.entered += 1
        logger.info("%s asks to take part: %s", runner.name, why)

    def close(self) -> None:
        """Stop reading, and leave the group."""
        self.member.close()
        self.live.close()
