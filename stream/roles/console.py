"""The console role: the pages over HTTP, and beside them what follows the topics.

Laws of this file:
- It keeps nothing, and writes nothing but what people ask for: it may run anywhere that reaches Kafka (and Redis, for pages that
  read from it), and as often as one likes. Where nobody may ask, it needs no right to write.
- Told to stop, pages that are looked at are told to come back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from penstock.stream import topology
from penstock.stream.console.app import Console
from penstock.stream.console.guard import host_names
from penstock.stream.console.reading.ask import Asker
from penstock.stream.console.reading.follow import Follower
from penstock.stream.console.reading.servers import servers_of
from penstock.stream.definitions import Pipeline
from penstock.stream.process.health_page import Health
from penstock.stream.process.settings import Settings
from penstock.stream.roles.console_people import people_of
from penstock.stream.roles.http import check_names, listening, run_http
from penstock.stream.roles.look_up import looked_up

logger = logging.getLogger("penstock.console")

GRACE_S = 1


def run_console(pipelines: Sequence[Pipeline], settings: Settings) -> None:
    """The console, until told to stop."""
    check_names(pipelines)
    people = people_of(settings)
    asker = Asker(settings, lambda request: looked_up(request, settings, logger.warning))
    made = listening(settings.host, settings.port)
    host, port = made.getsockname()[:2]
    names = ",".join(topology.deployed(one.name, settings.prefix) for one in pipelines)
    health = Health("console", host, port, pipeline=names)
    follower = Follower([one.name for one in pipelines], settings, health).start()
    console = Console(
        follower.reading,
        {one.name: one for one in pipelines},
        host_names(settings.host, settings.console_hosts),
        health=health,
        prefix=settings.prefix,
        sources=settings,
        people=people,
        ask=asker if people.login or people.proxies.networks else None,
    )

    def ending() -> None:
        console.stopping = True

    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.console_cert else "http"
    logger.info("the console is at %s://%s:%d/", scheme, shown, port)
    try:
        cert, key = settings.console_cert, settings.console_key
        run_http(console, made, lifespan=False, grace_s=GRACE_S, cert=cert, key=key, ending=ending)
    finally:
        follower.close()
        asker.close()
        servers_of(settings).close()
