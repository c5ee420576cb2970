"""The challenge role: races a definition's challengers beside learn, with what CPU nobody else wants."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import redis

from penstock.stream import topology
from penstock.stream.challenge.worker import ChallengeWorker
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.log.protocol import Log
from penstock.stream.process.health_page import Health
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.roles.metrics import ChallengeReport

RACE_NICE = 10
"""Where processes want more CPU than there is, one of this nice value gets about a tenth of what any other gets."""


def challenge_worker(
    pipeline: Pipeline,
    settings: Settings,
    log: Log,
    client: redis.Redis,
    health: Health,
    sleep: Callable[[float], None] = time.sleep,
) -> ChallengeWorker:
    """A race over these clients. `sleep` is how it lets time pass that is not its share."""
    return ChallengeWorker(
        pipeline,
        log,
        start.model_store(pipeline, settings, client),
        time.process_time,
        time.monotonic,
        sleep,
        prefix=settings.prefix,
        instance_id=f"{topology.deployed(pipeline.name, settings.prefix)}-challenge-{settings.slot}",
        health=ChallengeReport(health),
    )


def run_challenge(pipeline: Pipeline, settings: Settings) -> None:
    """The challenge role, until told to stop; it gives way to other processes.

    Raises `DefinitionError` when the definition has no challengers.
    """
    if not pipeline.challengers:
        raise DefinitionError(
            f"Pipeline {pipeline.name!r}: it has no challengers; give it some, such as "
            f"challengers={{'tree': tree.HoeffdingTreeClassifier()}}, or leave this role out"
        )
    os.nice(RACE_NICE)
    stopped = start.until_told(start.ENDS_WITHIN_S)
    client = start.open_redis(settings)
    start.model_store(pipeline, settings, client)  # a missing secret is said before a broker is asked for
    log = start.open_log(settings)
    start.check_owner(pipeline, settings, log, client)
    with start.page_of("challenge", pipeline, settings) as health:
        worker = challenge_worker(pipeline, settings, log, client, health)
        start.turn_until(stopped, worker, health, log.close)
