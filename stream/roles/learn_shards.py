"""The learn role of a pipeline that learns in shards: one process, a learn worker for each shard that the group gives it.

Laws of this file:
- Every shard has a store, versions and retrain jobs of its own, by the shard's name; clients and the page are the process's.
- Numbers of the page are of all shards that are here: counts are sums, and so are what is open and what waits. What is true of
  one model alone (its measures) is not shown.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from penstock.features.redis.store import RedisStateStore
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.formats.outputs import outputs_of
from penstock.stream.learn.events import KINDS
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.retrain import ProcessRetrainer
from penstock.stream.learn.sharing import LearnShards
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.shards import ShardLog
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.health_page import Health
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.process.write_behind import WriteBehind
from penstock.stream.roles import start
from penstock.stream.roles.metrics import LOOK_EVERY_S, Lag, LearnReport
from penstock.stream.shards import of_shard


def run_learn_shards(
    pipeline: Pipeline,
    definition: str | Path,
    settings: Settings,
    *,
    guard: bool = True,
    kind: type[LearnWorker] = LearnWorker,
) -> None:
    """The learn role, until told to stop. Raises `SettingError` for an MLflow server: shards publish nothing there."""
    if settings.mlflow:
        raise SettingError(
            f"PENSTOCK_MLFLOW is set, and {pipeline.name!r} learns in {pipeline.shards} shards: models of shards are not "
            "published to MLflow. Leave the setting out"
        )
    stopped = start.until_told(start.ENDS_WITHIN_S)
    client = start.open_redis(settings)
    start.model_store(pipeline, settings, client)  # a missing secret is told before anything is claimed
    health = start.page_of("learn", pipeline, settings)
    log = outputs_of(pipeline, settings, start.open_log(settings, health, stopped))
    start.check_owner(pipeline, settings, log, client)
    retrainers: list[ProcessRetrainer] = []

    def make(shard: int, shards_log: ShardLog) -> LearnWorker:
        one = of_shard(pipeline, shard)
        retrainers.append(ProcessRetrainer(Path(definition), shard))
        return kind(
            one,
            shards_log,
            RedisStateStore(client, topology.deployed(one.name, settings.prefix), "learn"),
            start.model_store(one, settings, client),
            retrainers[-1],
            start.keys(settings),
            wall_ms,
            prefix=settings.prefix,
            guard=guard,
            decision_wait_s=start.DECISION_WAIT_S,
            writer=WriteBehind(f"learn-write-{shard}"),
        )

    def stop_retrains() -> None:
        for retrainer in retrainers:
            retrainer.stop()

    deployed = topology.deployed(pipeline.name, settings.prefix)
    with health:
        worker = LearnShards(
            pipeline,
            log,
            make,
            prefix=settings.prefix,
            instance_id=f"{deployed}-learn-{settings.slot}",
            health=LearnShardsReport(health),
        )
        start.turn_until(stopped, worker, health, stop_retrains, log.close)


class LearnShardsReport:
    """Tells the page what a `LearnShards` did."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.reports: dict[int, LearnReport] = {}
        self.look_s = 0.0
        self.lag = Lag(health)

    def batch(self, worker: LearnShards) -> None:
        """Report one turn."""
        self.health.turned()
        for shard, one in worker.workers.items():
            if shard not in self.reports:
                self.reports[shard] = LearnReport(self.health)
            self.reports[shard].count(one)
        now_s = time.monotonic()
        if now_s - self.look_s >= LOOK_EVERY_S:
            self.look_s = now_s
            self._look(worker)

    def _look(self, worker: LearnShards) -> None:
        health, held = self.health, worker.held
        folds = {shard: fold for shard in held if (fold := worker.workers[shard].fold) is not None}
        health.pending_labels.set(sum(len(fold.pending) for fold in folds.values()))
        health.model_held.set(any(fold.drift.hold is not None for fold in folds.values()))
        health.retrains_running.set(sum(len(fold.open_jobs) for fold in folds.values()))
        if folds:
            health.newest_event_timestamp_seconds.set(max(fold.at for fold in folds.values()) / 1000)
        found: Counter[tuple[str, str]] = Counter()
        for shard, fold in folds.items():
            health.position.labels(worker.topic, str(shard)).set(fold.position)
            self.reports[shard].retrains(fold.triggers)
            found += self.reports[shard].transitions(fold.drift.episodes.open, fold.drift.severities)
        for report in self.reports.values():
            report.open |= found.keys()
        for kind, severity in {key for report in self.reports.values() for key in report.open}:
            health.episodes_open.labels(kind, severity).set(found[kind, severity])
        self._experts(list(folds.values()))
        self.lag.look(worker.member)
        workers = [worker.workers[shard] for shard in held]
        health.ready(
            {
                "assigned": worker.assigned,
                "positioned": len(folds) == len(held),
                "on its own recipe": not any(fold.recipes.foreign for fold in folds.values()),
                "in touch with Kafka and Redis": all(one.retry_at_ms <= one.wall_ms() for one in workers),
            }
        )

    def _experts(self, folds: list[Fold]) -> None:
        """How many models there are in all shards, and the mean weight of each kind."""
        weights = dict.fromkeys(KINDS, 0.0)
        for fold in folds:
            for one, weight in zip(fold.experts.all, fold.experts.gate.totals(), strict=True):
                weights[one.kind] += weight / len(folds)
        for kind, weight in weights.items():
            self.health.expert_weight_ratio.labels(kind).set(weight)
        self.health.experts.set(sum(len(fold.experts.all) - 1 for fold in folds))
