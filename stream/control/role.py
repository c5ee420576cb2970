"""`run`: the control role of a pipeline in this process's main thread, until it is told to stop.

Laws of this file:
- What cannot work is said before Faust starts: a broker that does not answer, a topic that is missing.
- A stop is clean within seconds; a Faust app that gave up is an error, so that the process is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import tempfile
from collections.abc import Callable
from typing import Any

from kafka import KafkaAdminClient

from penstock.stream import topology
from penstock.stream.control.faust_shell import REFUSALS, Control
from penstock.stream.control.step import RESEND_MS
from penstock.stream.definitions import Pipeline
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka_python import client
from penstock.stream.log.not_allowed import NotAllowed
from penstock.stream.log.protocol import LogError, LogUnavailable
from penstock.stream.process.health_page import Health
from penstock.stream.process.settings import Settings

logger = logging.getLogger("penstock.control")

STOP_S = 10.0


def prepare_topics(pipeline: Pipeline, settings: Settings) -> None:
    """Make the changelog; demand the others.

    Raises:
        LogError: a topic is missing or differs, or the broker is not there.

    """
    with client(KafkaAdminClient, settings) as admin:
        ensure(admin, [topology.policy_changelog(pipeline.name, settings.prefix)])
        owned = [
            topic._replace(config={})
            for topic in topology.owned(pipeline.name, settings.prefix)
            if "dead" not in topic.name
        ]
        # Faust would wait for ever for a group that it may not join: raises where the user may not even ask about it.
        admin.describe_groups([topology.consumer_group(pipeline.name, "control", settings.prefix)])
        wrong = ensure(admin, owned, create=False).differences
        if wrong:
            raise LogError(f"{'; '.join(wrong)}: create them with `penstock topics FILE`")


def run(
    pipeline: Pipeline,
    settings: Settings,
    until: Callable[[], bool] | None = None,
    *,
    resend_ms: int = RESEND_MS,
) -> None:
    """Run the control role until SIGTERM, Ctrl-C or `until()`, in the main thread.

    Raises:
        LogError: the broker does not answer, a topic is missing, or Faust gave up (start the process again).

    """
    prepare_topics(pipeline, settings)
    deployed = topology.deployed(pipeline.name, settings.prefix)
    with (
        Health("control", settings.host, settings.port, pipeline=deployed) as health,
        tempfile.TemporaryDirectory(prefix="penstock-") as folder,
    ):
        asyncio.run(_serve(pipeline, settings, health, folder, until, resend_ms))


async def _serve(
    pipeline: Pipeline,
    settings: Settings,
    health: Health,
    folder: str,
    until: Callable[[], bool] | None,
    resend_ms: int,
) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    if until is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
    control = Control(pipeline, settings, health, folder, resend_ms=resend_ms)
    logger.info("health page on http://%s:%d", health.host, health.port)
    app: Any = control.app
    starting = asyncio.ensure_future(app.start())
    crash: BaseException | None = None
    try:
        while crash is None and not told.is_set() and not (until is not None and until()):
            health.ready({"started": starting.done(), "recovered": control.recovered.is_set()})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), 0.1)
            failed = starting.exception() if starting.done() and not starting.cancelled() else None
            crash = failed or app.crash_reason or control.refused
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(app.stop(), STOP_S)
        starting.cancel()
    if isinstance(crash, NotAllowed):
        raise crash
    if crash is not None and type(crash).__name__ in REFUSALS:
        raise NotAllowed(
            f"Kafka refuses this user ({type(crash).__name__}: {crash}): give it the right, `penstock acls FILE` prints what "
            "each role needs"
        ) from crash
    if crash is not None:
        raise LogUnavailable(f"the control role's Kafka client gave up, start it again: {crash!r}") from crash
