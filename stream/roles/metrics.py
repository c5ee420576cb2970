"""What each worker's numbers mean on its health page: the only file that knows both.

Laws of this file:
- A report reads a worker and changes nothing in it. Counters survive a worker that drops its memory and
  counts from 0 again.
- Every turn costs a few microseconds; watermarks and per-partition gauges are looked at once a second.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from penstock.stream.learn.events import KINDS
from penstock.stream.process.health_page import Health

if TYPE_CHECKING:
    from penstock.monitors.episodes import Episode
    from penstock.stream.challenge.worker import ChallengeWorker
    from penstock.stream.featurize.task import Task
    from penstock.stream.featurize.worker import FeaturizeWorker
    from penstock.stream.learn.experts import Experts
    from penstock.stream.learn.retrain_triggers import RetrainTriggers
    from penstock.stream.learn.stakes import Severity
    from penstock.stream.learn.worker import LearnWorker
    from penstock.stream.log.protocol import Reader

__all__ = ["ChallengeReport", "FeaturizeReport", "Health", "LearnReport"]

LOOK_EVERY_S = 1.0
UNTOLD = "untold"
LEARNED = (
    "joined", "learned", "held_back", "expired", "absent", "corrected", "unmatched", "duplicates", "contradictions", "dropped",
    "repeats",
)  # fmt: skip


class Growth:
    """Makes steady growth of numbers that now and then start over from 0."""

    def __init__(self) -> None:
        self._last: dict[object, float] = {}

    def of(self, name: object, value: float) -> float:
        """How much `value` grew since it was last seen under `name`."""
        before = self._last.get(name, 0)
        self._last[name] = value
        return value - before if value >= before else value

    def start(self, values: Mapping[Any, float]) -> None:
        """Take these values as seen."""
        self._last.update(values)


class FeaturizeReport:
    """Tells the page what a `FeaturizeWorker` did."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.growth = Growth()
        self.look_s = 0.0
        self.lag = Lag(health)

    def batch(self, worker: FeaturizeWorker) -> None:
        """Report one turn."""
        health, grown = self.health, self.growth.of
        health.turned()
        for name, task in worker.tasks.items():
            counts = task.featurize.counts
            health.records.labels("sources").inc(grown((name, "items"), counts.items))
            health.samples.inc(grown((name, "samples"), counts.samples))
            health.labels_written.inc(grown((name, "labels"), counts.labels))
        now_s = time.monotonic()
        if now_s - self.look_s >= LOOK_EVERY_S:
            self.look_s = now_s
            self._look(worker)

    def readable(self, timestamps_ms: list[int], wall_ms: int) -> None:
        """Report a batch whose features can be read by now."""
        self.health.event_to_readable_seconds.observe_batch(timestamps_ms, wall_ms)

    def _look(self, worker: FeaturizeWorker) -> None:
        health, grown = self.health, self.growth.of
        rebuilding = any(task.rebuilding_from is not None for task in worker.tasks.values())
        newest = max((at for task in worker.tasks.values() for at in task.newest.values()), default=-1)
        for name, task in worker.tasks.items():
            for reason, count in task.featurize.counts.dead_letters.items():
                health.dead(reason, grown((name, "dead", reason), count))
            self._values(name, task)
        for name, expiry in worker.expiries.items():
            for view, deleted in expiry.deleted.items():
                health.states_expired.labels(view).inc(grown((name, "expired", view), deleted))
        if newest >= 0:
            health.newest_event_timestamp_seconds.set(newest / 1000)
        for (topic, partition), offset in worker.committed.items():
            health.position.labels(topic, str(partition)).set(offset)
        self.lag.look(worker.member)
        health.rebuilding.set(rebuilding)
        waits = worker.schemas is not None and worker.schemas.waiting
        registry = {} if worker.schemas is None else {"in touch with the schema registry": not waits}
        health.ready(
            {
                "assigned": bool(worker.assigned),
                "positioned": bool(worker.tasks),
                "in touch with Kafka and Redis": waits or not worker.retry_at_ms,
                "rebuilt": not rebuilding,
                **registry,
            }
        )

    def _values(self, name: str, task: Task) -> None:
        """Entities, values given in place of unknown ones, and late records, by view and by source."""
        health, grown, counts = self.health, self.growth.of, task.featurize.counts
        for number, view in enumerate(task.featurize.pipeline.views):
            entities = health.entities_first_seen.labels(view.name)
            entities.inc(grown((name, "entities", view.name), counts.entities[number]))
            defaults = counts.defaults[number] * len(view.numeric)
            health.defaults_served.labels(view.name).inc(grown((name, "defaults", view.name), defaults))
        for source, decoder in zip(task.sources, task.decoders, strict=True):
            behind = grown((name, "out of order", source.name), decoder.out_of_order)
            health.out_of_order_records.labels(source.name).inc(behind)
            late = grown((name, "late", source.name), counts.late[source.name])
            health.late_records.labels(source.name).inc(late)
            skipped = grown((name, "before", source.name), counts.before[source.name])
            health.skipped_records.labels(source.name).inc(skipped)


class LearnReport:
    """Tells the page what a `LearnWorker` did."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.growth = Growth()
        self.look_s = 0.0
        self.seen: dict[tuple[str, str], tuple[str, int]] = {}
        self.open: set[tuple[str, str]] = set()
        self.counted_fold: object = None
        self.lag = Lag(health)

    def batch(self, worker: LearnWorker) -> None:
        """Report one turn."""
        self.health.turned()
        self.count(worker)
        now_s = time.monotonic()
        if now_s - self.look_s >= LOOK_EVERY_S:
            self.look_s = now_s
            self._look(worker)

    def count(self, worker: LearnWorker) -> None:
        """Count what grew with a turn."""
        health, fold, grown = self.health, worker.fold, self.growth.of
        health.unreadable_records.inc(grown("unreadable", worker.unreadable))
        for part, seconds in worker.parts.seconds.items():
            health.turn_part_seconds.labels(part).inc(grown(("part", part), seconds))
        if (publisher := worker.publisher) is not None:
            for outcome, count in (("registered", publisher.registered), ("failed", publisher.failures)):
                health.mlflow_registrations.labels(outcome).inc(grown(("mlflow", outcome), count))
        if fold is not None:
            counts = fold.counts
            # a fold restored from a snapshot brings counts that were counted before
            if fold is not self.counted_fold:
                self.counted_fold = fold
                self.growth.start({**vars(counts), "position": fold.position})
                self.growth.start(fold.triggers.totals())
            health.predictions.inc(grown("samples", counts.samples))
            health.records.labels(worker.topic).inc(grown("position", fold.position))
            for outcome in LEARNED:
                health.labels.labels(outcome).inc(grown(outcome, getattr(counts, outcome)))
            health.model_failures.inc(grown("failed", counts.failed))
            health.log_loss_nats.inc(grown("live_loss", counts.live_loss))
            health.base_log_loss_nats.inc(grown("base_loss", counts.base_loss))
            health.lead_changes.inc(grown("leads", counts.leads))
            health.expert_predictions.inc(grown("asked", counts.asked))
            health.expert_learnings.inc(grown("taught", counts.taught))

    def _look(self, worker: LearnWorker) -> None:
        health, fold = self.health, worker.fold
        if fold is not None:
            health.pending_labels.set(len(fold.pending))
            health.newest_event_timestamp_seconds.set(fold.at / 1000)
            health.position.labels(worker.topic, "0").set(fold.position)
            health.model_held.set(fold.drift.hold is not None)
            health.retrains_running.set(len(fold.open_jobs))
            self.retrains(fold.triggers)
            self._experts(fold.experts)
            for name, value in fold.measures().items():
                health.measure.labels(name).set(value)
            self._episodes(fold.drift.episodes.open, fold.drift.severities)
        elif not worker.assigned:  # a spare's: what another worker has taken over is its to tell
            health.pending_labels.set(0)
            health.model_held.set(0)
            health.retrains_running.set(0)
            self._open({})
        self.lag.look(worker.member)
        health.ready(
            {
                "assigned": worker.assigned,
                "positioned": fold is not None,
                "on its own recipe": fold is None or not fold.recipes.foreign,
                "in touch with Kafka and Redis": worker.retry_at_ms <= worker.wall_ms(),
            }
        )

    def retrains(self, triggers: RetrainTriggers) -> None:
        """What set retrains off, and what became of triggers that fired."""
        health, grown = self.health, self.growth.of
        for (trigger, outcome), count in triggers.totals().items():
            if outcome == "begun":
                health.retrains.labels(trigger).inc(grown((trigger, outcome), count))
            else:
                health.retrain_triggers.labels(trigger, outcome).inc(grown((trigger, outcome), count))

    def _experts(self, experts: Experts) -> None:
        """How many models there are, and the weight of each kind; a kind that is gone has none."""
        weights = dict.fromkeys(KINDS, 0.0)
        for one, weight in zip(experts.all, experts.gate.totals(), strict=True):
            weights[one.kind] += weight
        for kind, weight in weights.items():
            self.health.expert_weight_ratio.labels(kind).set(weight)
        self.health.experts.set(len(experts.all) - 1)

    def _episodes(self, found: Iterable[Episode], severities: Mapping[tuple[str, str], Severity]) -> None:
        self._open(self.transitions(found, severities))

    def transitions(
        self, found: Iterable[Episode], severities: Mapping[tuple[str, str], Severity]
    ) -> Counter[tuple[str, str]]:
        """Count changes of state; one between two looks shows as its last. Gives how many are open, by kind and severity."""
        health = self.health
        now = {(episode.monitor, episode.subject): episode for episode in found}
        for key, episode in now.items():
            if self.seen.get(key) != (episode.state, episode.sequence):
                self.seen[key] = (episode.state, episode.sequence)
                health.episode_transitions.labels(episode.monitor, episode.state).inc()
        for key in [key for key in self.seen if key not in now]:
            del self.seen[key]
            health.episode_transitions.labels(key[0], "resolved").inc()
        return Counter((key[0], severities.get(key, UNTOLD)) for key in now)

    def _open(self, now: Mapping[tuple[str, str], int]) -> None:
        """How many episodes are open, by kind and severity; 0 of what was open before."""
        self.open |= now.keys()
        for kind, severity in self.open:
            self.health.episodes_open.labels(kind, severity).set(now.get((kind, severity), 0))


class ChallengeReport:
    """Tells the page what a `ChallengeWorker` did."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.growth = Growth()
        self.look_s = 0.0
        self.lag = Lag(health)

    def batch(self, worker: ChallengeWorker) -> None:
        """Report one turn."""
        health, race = self.health, worker.race
        health.turned()
        health.records.labels(worker.topic).inc(self.growth.of("position", race.position))
        health.challengers_entered.inc(self.growth.of("entered", worker.entered))
        now_s = time.monotonic()
        if now_s - self.look_s < LOOK_EVERY_S:
            return
        self.look_s = now_s
        health.position.labels(worker.topic, "0").set(race.position)
        standings = [one for one in race.standings() if one.name]
        health.challengers.labels("running").set(sum(one.runs for one in standings))
        health.challengers.labels("waiting").set(sum(not one.runs for one in standings))
        for one in standings:
            health.challenger_weight_ratio.labels(one.name).set(one.weight)
            if one.loss is not None:
                health.challenger_loss_nats.labels(one.name).set(one.loss)
        self.lag.look(worker.member)
        health.ready({"assigned": worker.assigned, "in touch with Kafka": worker.in_touch})


class Lag:
    """Records after the positions read, per topic; none of a topic that another worker has taken over."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.topics: set[str] = set()

    def look(self, member: Reader) -> None:
        """Take what the broker last said."""
        positions = member.positions()
        lag = dict.fromkeys(self.topics, 0)
        for tp, end in member.high_watermarks().items():
            lag[tp[0]] = lag.get(tp[0], 0) + max(0, end - positions.get(tp, end))
        self.topics.update(lag)
        for topic, records in lag.items():
            self.health.lag_records.labels(topic).set(records)
