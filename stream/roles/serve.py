"""The serve role: answers on request, in one process or in several that share a port.

Laws of this file:
- A process holds nothing of its own: any may be ended, started or added at any time. Several share one listening socket, so one
  that dies drops only what it was answering; the parent starts another.
- SIGTERM and Ctrl-C end it after the requests that it is answering.
"""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, cast

import msgspec
import redis

from penstock.features.read.client import FeatureReader
from penstock.features.redis.keys import position_key, replica_key, versions_key, wanted_key
from penstock.features.redis.one_connection import OneConnection, one_connection
from penstock.features.redis.refused import unusable
from penstock.features.redis.store import StoreUnavailable, address, connect
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.explain.explanation import CannotExplain
from penstock.stream.explain.mixture import live, single
from penstock.stream.learn.replica import Answered, Replica
from penstock.stream.process import shared_metrics
from penstock.stream.process.health_page import Health
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings, child_environment
from penstock.stream.roles import start
from penstock.stream.roles.http import check_names, listening, run_http
from penstock.stream.serve.answers import Problem
from penstock.stream.serve.app import Application
from penstock.stream.serve.asking import Refusal
from penstock.stream.serve.limits import Limits
from penstock.stream.serve.replicas import WANTED_MS, KeptVersions, Replicas
from penstock.stream.serve.served import ServedPipeline
from penstock.stream.shards import check_one

logger = logging.getLogger("penstock.serve")

READ_TIMEOUT_S = 0.25
"""A read of features that takes longer has failed: all requests of a process wait for it."""
LOOK_TIMEOUT_S = 2.0
"""What reads beside the requests, models above all, waits so long for Redis."""
MOST_TASKS = 1_024
TASKS_EVERY_S = 30.0
GRACE_S = 10


def tasks_of(client: Any, deployed: str) -> tuple[str, ...]:
    """The tasks that keep the state of a pipeline that scales by partition: as many as have a position in Redis."""
    found = client.mget([position_key(deployed, str(number)) for number in range(MOST_TASKS)])
    return tuple(str(number) for number, position in enumerate(found) if position is not None) or ("all",)


class Once:
    """A client of which a read that timed out is not asked for again on another connection: nobody may wait twice."""

    def __init__(self, client: OneConnection) -> None:
        self.client, self.connection_pool = client, client.connection_pool

    def mget(self, keys: Sequence[str], /) -> Any:
        """The values of many keys."""
        try:
            return self.client.mget(keys)
        except redis.TimeoutError as error:
            where = address(cast(redis.Redis, self))
            raise StoreUnavailable(str(error), where, "check that Redis runs there") from error


def explained(replica: Replica, answered: Answered, alone: Any = None) -> dict[str, Any]:
    """Why an answer is what it is, as plain data; that of the model `alone`, if one is given."""
    names = replica.names
    try:
        if alone is not None:
            said = single(replica.standing.task, alone, answered.x, names)
        else:
            said = live(
                answered.experts,
                answered.x,
                answered.answer,
                outside=answered.outside,
                alone=answered.alone,
                names=names,
            )
    except CannotExplain as error:
        raise Refusal(422, Problem(f"this prediction cannot be explained: {error}")) from None
    found: dict[str, Any] = msgspec.to_builtins(said)
    return found


def served(pipeline: Pipeline, settings: Settings) -> ServedPipeline:
    """A pipeline over the settings' Redis."""
    check_one(pipeline, "The serve role answers with")
    deployed = topology.deployed(pipeline.name, settings.prefix)
    looks = connect(settings.redis_url, LOOK_TIMEOUT_S)
    models = start.model_store(pipeline, settings, looks)
    start.check_prefix(pipeline, settings, looks)
    reads = Once(one_connection(connect(settings.redis_url, READ_TIMEOUT_S, socket_keepalive=True)))
    reader = FeatureReader(reads, pipeline.name, pipeline.views, prefix=settings.prefix)
    replicas = Replicas(looks, pipeline, deployed, start.keys(settings), address(looks))
    newest: Callable[[], Replica | None] = replicas.newest
    if pipeline.partitioned:
        newest = _with_tasks(reader, looks, deployed, replicas)
    clock_s = time.monotonic
    return ServedPipeline(pipeline, reader, newest, KeptVersions(models, clock_s), explained, clock_s)


def _with_tasks(
    reader: FeatureReader, client: redis.Redis, deployed: str, replicas: Replicas
) -> Callable[[], Replica | None]:
    """Look for newer models, and now and then for the tasks whose state is to be read."""
    due_s = 0.0

    def newest() -> Replica | None:
        nonlocal due_s
        found = replicas.newest()  # says where Redis is if it is away
        if time.monotonic() >= due_s:
            reader.tasks = tasks_of(client, deployed)
            due_s = time.monotonic() + (TASKS_EVERY_S if reader.tasks != ("all",) else 1.0)
        return found

    return newest


def check_rights(pipeline: Pipeline, settings: Settings, made: ServedPipeline) -> None:
    """Ask once for all that requests may need: raises `StoreRefused` for a right that is missing, before anybody asks.

    The word that somebody serves is said as `Replicas.newest` says it; what is read is looked at by nobody.
    """
    deployed = topology.deployed(pipeline.name, settings.prefix)
    client: Any = connect(settings.redis_url, LOOK_TIMEOUT_S)
    try:
        client.set(wanted_key(deployed), b"1", px=WANTED_MS)
        client.mget([replica_key(deployed)])
        client.hkeys(versions_key(deployed))
        client.hget(versions_key(deployed), "")
    except redis.RedisError as error:
        raise unusable(error, address(client), "check that Redis runs there") from error
    finally:
        client.close()
    made.circuit.asked()


def run_serve(
    files: Sequence[str],
    pipelines: Sequence[Pipeline],
    settings: Settings,
    *,
    workers: int = 1,
    worker: str = "",
) -> None:
    """The serve role, until told to stop. `worker` is "FD,NUMBER,FOLDER" in a process that a parent started."""
    check_names(pipelines)
    names = ",".join(topology.deployed(one.name, settings.prefix) for one in pipelines)
    if worker:
        handle, number, folder = worker.split(",", 2)
        shared_metrics.share(folder, int(number))
        health = Health("serve", pipeline=names, shared=folder)
        answer(pipelines, settings, socket.socket(fileno=int(handle)), health)
        return
    for pipeline in pipelines:  # a wrong setting is said once, and before a process is started
        check_rights(pipeline, settings, served(pipeline, settings))
    made = listening(settings.host, settings.port)
    host, port = made.getsockname()[:2]
    scheme = "https" if settings.serve_cert else "http"
    logger.info("serving %s on %s://%s:%d/docs", ", ".join(one.name for one in pipelines), scheme, host, port)
    if workers == 1:
        answer(pipelines, settings, made, Health("serve", host, port, pipeline=names))
    else:
        supervise(files, settings, made, workers)


def answer(pipelines: Sequence[Pipeline], settings: Settings, listens: socket.socket, health: Health) -> None:
    """Answer requests in this process."""
    limits = Limits(tokens=settings.serve_tokens)
    all_served = {one.name: served(one, settings) for one in pipelines}
    app = Application(all_served, health, limits, log_access=settings.access_log > 0)
    settle_memory()
    cert, key = settings.serve_cert, settings.serve_key
    run_http(app, listens, lifespan=True, grace_s=GRACE_S, cert=cert, key=key)


def supervise(files: Sequence[str], settings: Settings, listens: socket.socket, workers: int) -> None:
    """So many processes that share the socket; one that ends is started again, until told to stop."""
    stopped = start.until_told(start.ENDS_WITHIN_S)
    handle = listens.fileno()
    command = [sys.executable, "-m", "penstock.stream.cli", "run", *files, "--role", "serve", "--worker"]
    environment = child_environment(settings)

    folder = tempfile.mkdtemp(prefix="penstock-serve-")  # of the workers' metrics

    def begin(number: int) -> subprocess.Popen[bytes]:
        given = f"{handle},{number},{folder}"
        return subprocess.Popen([*command, given], pass_fds=[handle], env=environment)

    def end() -> None:
        for one in running:
            one.terminate()
        for one in running:
            one.wait(GRACE_S * 2)

    running = [begin(number) for number in range(workers)]
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        ending.callback(end)
        while not stopped():
            time.sleep(0.2)
            for number, one in enumerate(running):
                if one.poll() is not None:
                    logger.warning("worker %d ended with code %s: starting another", number, one.returncode)
                    time.sleep(1.0)
                    running[number] = begin(number)
