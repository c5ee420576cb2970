"""Puts the roles together: settings → clients → worker → loop. The one place where the roles' clients are built.

Laws of this file:
- A server that is not there at the start is an error within seconds, with its address; later it is waited for.
- SIGTERM and Ctrl-C end a role between two turns of its loop, with its last state written, or else in the end all the same.
"""

from __future__ import annotations

import faulthandler
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Protocol

import redis

from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.store import RedisStateStore, address, check_redis, connect
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.pace import PATIENCE_MS
from penstock.stream.featurize.source_topics import beside
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.flink.opening import check_no_job
from penstock.stream.formats.outputs import outputs_of
from penstock.stream.formats.schemas import schemas_for
from penstock.stream.learn.retrain import ProcessRetrainer
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Log
from penstock.stream.models.mlflow_registry import MlflowRegistry, NoMlflow, client_of
from penstock.stream.models.publisher import Publisher
from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import Keys
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.health_page import Health
from penstock.stream.process.interpreter import settle_memory, share_interpreter
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.process.write_behind import WriteBehind
from penstock.stream.roles.identity import Identity, check_names, claim, found_identity
from penstock.stream.roles.metrics import FeaturizeReport, LearnReport
from penstock.stream.roles.waiting import waiting

logger = logging.getLogger("penstock")

ENDS_WITHIN_S = 60.0  # three times what the slowest known ending takes, with Redis or Kafka away

POLL_S = 0.05
LEAD_RECORDS = 8_000
DECISION_WAIT_S = 0.3


class Worker(Protocol):
    """What a role turns."""

    def process_batch(self, timeout_s: float) -> int:
        """One turn of the loop, which waits at most so long for records; how many were worked on."""

    def close(self) -> None:
        """Write what is to be written, and leave the group."""


def with_arguments(settings: Settings, *, port: int | None, slot: str | None) -> Settings:
    """Settings with what the command line overrides."""
    given = {name: value for name, value in (("port", port), ("slot", slot)) if value is not None}
    return replace(settings, **given)  # type: ignore[arg-type]


def open_log(
    settings: Settings, health: Health | None = None, stopped: Callable[[], bool] = lambda: False
) -> Log:
    """The Kafka log at the settings' address; a page that is given hears of waits for the broker, short ones once `stopped`."""
    return KafkaLog(
        settings.bootstrap,
        settings.kafka,
        client_id=settings.client_id,
        request_timeout_s=settings.connect_timeout_s,
        on_wait=waiting(health, stopped),
        rejoins=True,
    )


def open_redis(settings: Settings) -> redis.Redis:
    """A client of the settings' Redis, which was checked to be fit for keeping state."""
    client = connect(settings.redis_url)
    check_redis(client)
    return client


def model_store(pipeline: Pipeline, settings: Settings, client: redis.Redis) -> RedisModelStore:
    """The pipeline's version store."""
    return versions_of(pipeline.name, settings, client)


def versions_of(pipeline: str, settings: Settings, client: redis.Redis) -> RedisModelStore:
    """The version store of a pipeline, by its name. Versions are pickles, so a secret to sign them with is demanded."""
    if not settings.secret:
        raise SettingError(
            "PENSTOCK_SECRET is not set: model versions are signed with it, in Redis as elsewhere. "
            "Set it to the same value for every role, such as the output of `openssl rand -hex 32`"
        )
    return RedisModelStore(client, pipeline, keys(settings), settings.models, settings.prefix)


def keys(settings: Settings) -> Keys:
    """The secret that signs, and those that signed before."""
    return Keys(settings.secret, settings.former_secrets)


def mlflow_registry(pipeline: Pipeline, settings: Settings, models: RedisModelStore) -> MlflowRegistry:
    """The pipeline's registered model on the settings' MLflow server. Raises `SettingError` without the extra."""
    try:
        client = client_of(settings.mlflow)
    except NoMlflow as error:
        raise SettingError(str(error)) from None
    name = topology.deployed(pipeline.name, settings.prefix)
    return MlflowRegistry(client, name, models, keys(settings), pipeline.vector_names)


def mlflow_publisher(pipeline: Pipeline, settings: Settings, models: RedisModelStore) -> Publisher | None:
    """What publishes versions to MLflow; None where no server is named."""
    return Publisher(mlflow_registry(pipeline, settings, models)) if settings.mlflow else None


def check_owner(pipeline: Pipeline, settings: Settings, log: Log, client: redis.Redis) -> None:
    """Refuse a Redis whose keys of this pipeline belong to another deployment; raises `OtherDeployment`.

    A cluster that lacks the pipeline's topics claims nothing, so that a wrong address does no harm; raises `UnknownTopic`.
    """
    name, cluster = pipeline.name, log.cluster_id()
    here = Identity(pipeline=name, prefix=settings.prefix, cluster=cluster, kafka=settings.bootstrap)
    keyspace = RedisKeyspace(client)
    if found_identity(keyspace, here) is None:
        log.partitions(topology.samples(pipeline.name, settings.prefix))
    claim(keyspace, here, address(client))


def task_partitions(pipeline: Pipeline, log: Log) -> int:
    """How many tasks the pipeline has if they are partitions, otherwise 0; `UnknownTopic` where the topic is missing."""
    return log.partitions(pipeline.predict.name) if pipeline.partitioned else 0


def check_prefix(pipeline: Pipeline, settings: Settings, client: redis.Redis) -> str:
    """The Kafka cluster whose positions this Redis keeps, empty if none; raises `OtherDeployment` for another prefix's keys."""
    here = Identity(pipeline=pipeline.name, prefix=settings.prefix)
    found = found_identity(RedisKeyspace(client), here)
    if found is not None:
        check_names(found, here, address(client))
    return "" if found is None else found.cluster


def page_of(role: str, pipeline: Pipeline, settings: Settings) -> Health:
    """The health page of a role that runs one pipeline, by its name as deployed."""
    deployed = topology.deployed(pipeline.name, settings.prefix)
    return Health(role, settings.host, settings.port, pipeline=deployed)


def until_told(ends_within_s: float = 0.0) -> Callable[[], bool]:
    """Whether SIGTERM or SIGINT has come since this call. Who still runs `ends_within_s` later says where, and ends with 1."""
    told = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        if ends_within_s and not told.is_set():
            faulthandler.dump_traceback_later(ends_within_s, exit=True)
        told.set()

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    return told.is_set


def turn_until(
    stopped: Callable[[], bool],
    worker: Worker,
    health: Health,
    *after: Callable[[], None],
) -> None:
    """Turn the worker's loop until told to stop; then close it, and call `after` in order, each whatever the others raise."""
    settle_memory()
    share_interpreter()
    logger.info("health page on http://%s:%d", health.host, health.port)
    with ExitStack() as last:
        for call in reversed(after):
            last.callback(call)
        last.callback(worker.close)
        while not stopped():
            worker.process_batch(POLL_S)


def featurize_worker(
    pipeline: Pipeline,
    settings: Settings,
    log: Log,
    client: redis.Redis,
    health: Health,
    lead_records: int | None = LEAD_RECORDS,
) -> FeaturizeWorker:
    """Featurize over these clients. `lead_records` is how far it may be ahead of a learn role in another process."""
    deployed = topology.deployed(pipeline.name, settings.prefix)
    check_no_job(RedisKeyspace(client), deployed)
    partitions = task_partitions(pipeline, log)
    return FeaturizeWorker(
        pipeline,
        log,
        lambda task: RedisStateStore(client, deployed, task, partitions=partitions),
        wall_ms,
        prefix=settings.prefix,
        instance_id=f"{deployed}-featurize-{settings.slot}",
        lead_records=lead_records,
        health=FeaturizeReport(health),
        keyspace=RedisKeyspace(client),
        writer=WriteBehind("featurize-write", steps=2),
        patience_ms=PATIENCE_MS,
        skew_ms=None if settings.featurize_skew_s is None else round(settings.featurize_skew_s * 1_000),
        schemas=schemas_for(pipeline, settings),
        look=beside,
    )


def run_featurize(pipeline: Pipeline, settings: Settings) -> None:
    """The featurize role, until told to stop."""
    stopped = until_told(ENDS_WITHIN_S)
    client = open_redis(settings)
    health = page_of("featurize", pipeline, settings)
    log = open_log(settings, health, stopped)
    check_owner(pipeline, settings, log, client)
    with health:
        turn_until(stopped, featurize_worker(pipeline, settings, log, client, health), health, log.close)


def learn_worker(
    pipeline: Pipeline,
    definition: str | Path,
    settings: Settings,
    log: Log,
    client: redis.Redis,
    health: Health,
    *,
    guard: bool = True,
    decision_wait_s: float = DECISION_WAIT_S,
    kind: type[LearnWorker] = LearnWorker,
) -> tuple[LearnWorker, list[Callable[[], None]]]:
    """Learn over these clients, and what to call after it is closed. Retrains read `definition`, the pipeline's file."""
    models = model_store(pipeline, settings, client)
    retrainer = ProcessRetrainer(Path(definition))
    publisher = mlflow_publisher(pipeline, settings, models)
    deployed = topology.deployed(pipeline.name, settings.prefix)
    worker = kind(
        pipeline,
        outputs_of(pipeline, settings, log),
        RedisStateStore(client, deployed, "learn"),
        models,
        retrainer,
        keys(settings),
        wall_ms,
        prefix=settings.prefix,
        instance_id=f"{deployed}-learn-{settings.slot}",
        guard=guard,
        decision_wait_s=decision_wait_s,
        health=LearnReport(health),
        publisher=publisher,
        writer=WriteBehind("learn-write"),
    )
    return worker, [retrainer.stop, *([] if publisher is None else [publisher.start().close])]


def run_learn(
    pipeline: Pipeline,
    definition: str | Path,
    settings: Settings,
    *,
    guard: bool = True,
    kind: type[LearnWorker] = LearnWorker,
) -> None:
    """The learn role, until told to stop."""
    stopped = until_told(ENDS_WITHIN_S)
    client = open_redis(settings)
    model_store(pipeline, settings, client)  # a missing secret is said before a broker is asked for
    health = page_of("learn", pipeline, settings)
    log = open_log(settings, health, stopped)
    check_owner(pipeline, settings, log, client)
    with health:
        given = (pipeline, definition, settings, log, client, health)
        worker, after = learn_worker(*given, guard=guard, kind=kind)
        turn_until(stopped, worker, health, *after, log.close)


def run_control(pipeline: Pipeline, settings: Settings) -> None:
    """The control role (the Faust app), until told to stop."""
    from penstock.stream.control import role  # Faust takes a second to import, and no other role needs it

    with closing(open_log(settings)) as log, closing(open_redis(settings)) as client:
        check_owner(pipeline, settings, log, client)
    role.run(pipeline, settings)
