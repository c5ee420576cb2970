"""Every role of several pipelines in one process and one loop: for pipelines that are quiet, on one core.

Laws of this file:
- Each role of each pipeline is the member of its own group, with its own state, that it would be in a process of its own: what it
  writes is the same, and either may go on where the other stopped.
- They take turns, a batch each, in rounds; nobody's turn waits for records. After a round in which nothing came, all wait.
- What cannot begin at the start ends the process at once. Later a role that cannot go on is begun anew (`begun_anew`) while the
  others turn; when none is left, the process ends with the last one's error.
- A turn runs with its own definition file's names in place, since models are saved and restored by them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import redis

from penstock.stream import topology
from penstock.stream.definition_file import SideBySide
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.worker import HELD_S, FeaturizeWorker
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.protocol import Log, UnknownTopic
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.health_page import Health
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.pages_together import HealthTogether
from penstock.stream.process.resources import age_s, resident_bytes
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.roles.begun_anew import Begun, BegunAnew
from penstock.stream.roles.metrics_of_control import ControlReport
from penstock.stream.shards import check_one

logger = logging.getLogger("penstock")

LONGEST_WAIT_S = 10.0


class OnePipeline:
    """The roles of one pipeline, turned one after the other: control, featurize, learn, and challenge if it has challengers."""

    def __init__(
        self,
        pipeline: Pipeline,
        definition: str,
        settings: Settings,
        log: Log,
        client: redis.Redis,
        page: HealthTogether,
        *,
        guard: bool = True,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        self.pipeline, self.definition, self.settings = pipeline, definition, settings
        self.log, self.client, self.guard, self.expected = log, client, guard, expected
        self.deployed = topology.deployed(pipeline.name, settings.prefix)
        self.learning: LearnWorker | None = None
        self.featurizing: FeaturizeWorker | None = None
        self.folded, self.let_on_s = -1, 0.0
        self.control = self._role("control", self._begin_control, page)
        self.featurize = self._role("featurize", self._begin_featurize, page)
        self.learn = self._role("learn", self._begin_learn, page)
        self.roles = [self.control, self.featurize, self.learn]
        if pipeline.challengers:
            self.roles.append(self._role("challenge", self._begin_challenge, page))

    def _role(self, role: str, begin: Callable[[Health], Begun], page: HealthTogether) -> BegunAnew:
        part = page.part(role, self.deployed)
        name = f"{role} of {self.deployed}"
        return BegunAnew(name, lambda: begin(part), part, time.monotonic, self.expected)

    def _begin_control(self, part: Health) -> Begun:
        from penstock.stream.control.kept import KeptControl

        topic = topology.policy_changelog(self.pipeline.name, self.settings.prefix)
        try:
            self.log.partitions(topic.name)
        except UnknownTopic:
            make_topic(topic, self.settings)
        report = ControlReport(part, self.settings.prefix)
        return Begun(
            KeptControl(self.pipeline, self.log, wall_ms, prefix=self.settings.prefix, health=report)
        )

    def _begin_featurize(self, part: Health) -> Begun:
        start.check_owner(self.pipeline, self.settings, self.log, self.client)
        # None: how far it is ahead is seen here, without asking the broker.
        given = (self.pipeline, self.settings, self.log, self.client, part, None)
        self.featurizing = start.featurize_worker(*given)
        return Begun(self.featurizing)

    def _begin_learn(self, part: Health) -> Begun:
        given = (self.pipeline, self.definition, self.settings, self.log, self.client, part)
        # Nobody decides on a request while learn waits for it: control has its turn before learn's next.
        self.learning, after = start.learn_worker(*given, guard=self.guard, decision_wait_s=0.0)
        return Begun(self.learning, after)

    def _begin_challenge(self, part: Health) -> Begun:
        from penstock.stream.roles.challenge import challenge_worker

        given = (self.pipeline, self.settings, self.log, self.client, part)
        return Begun(challenge_worker(*given, sleep=lambda _s: None))

    @property
    def held(self) -> bool:
        """Whether featurize has something to step that waits for a worker of another process."""
        return self.featurizing is not None and self.featurizing.watermark.held

    def turn(self) -> int:
        """A turn of every role; how many records were worked on."""
        worked = 0
        for role in self.roles:
            if role is not self.featurize or not self._waits_for_learn():
                worked += role.turn()
        return worked

    def _waits_for_learn(self) -> bool:
        """Whether featurize leaves its turn out: learn has much to fold before it, and moves. It never does so for long."""
        learning, now_s = self.learning, time.monotonic()
        if self.learn.begun is not None and learning is not None and learning.fold is not None:
            position, before = learning.fold.position, self.folded
            self.folded = position
            behind = learning.member.high_watermarks().get(learning.tp, 0) - position
            if behind > start.LEAD_RECORDS and position != before and now_s - self.let_on_s < LONGEST_WAIT_S:
                return True
        self.let_on_s = now_s
        return False


def make_topic(topic: topology.Topic, settings: Settings) -> None:
    """Make a topic that is control's own, at the first start of all."""
    from kafka import KafkaAdminClient

    from penstock.stream.log.admin import ensure
    from penstock.stream.log.kafka_python import client

    with client(KafkaAdminClient, settings) as admin:
        ensure(admin, [topic])


def run_all(
    files: Sequence[str],
    definitions: SideBySide,
    settings: Settings,
    *,
    guard: bool = True,
    expected: tuple[type[Exception], ...] = (),
) -> None:
    """Every role of these pipelines, until told to stop. `expected` are errors whose sentence says all."""
    for one in definitions.pipelines:
        check_one(one, "`--role all` runs")
    stopped = start.until_told(start.ENDS_WITHIN_S)
    client = start.open_redis(settings)
    names = ",".join(topology.deployed(one.name, settings.prefix) for one in definitions.pipelines)
    page = HealthTogether(settings.host, settings.port, pipeline=names)
    log = start.open_log(settings, page, stopped)
    with page, ExitStack() as last:
        last.callback(log.close)
        flows = [
            OnePipeline(one, file, settings, log, client, page, guard=guard, expected=expected)
            for one, file in zip(definitions.pipelines, files, strict=True)
        ]
        for number, flow in enumerate(flows):
            for role in flow.roles:
                last.callback(role.close)
                last.callback(definitions.use, number)
        for number, flow in enumerate(flows):
            definitions.use(number)
            for role in flow.roles:
                role.start()
        settle_memory()
        logger.info("health page on http://%s:%d", page.host, page.port)
        say_size("started %d pipelines (%s)", len(flows), names)
        turn_all(definitions, flows, page, stopped)


def say_size(what: str, *given: object) -> None:
    """Log a line that ends with the process's resident memory and age."""
    logger.info(
        f"{what}: %.0f MB of memory, %.1f s after the process began", *given, resident_bytes() / 1e6, age_s()
    )


def turn_all(
    definitions: SideBySide, flows: Sequence[OnePipeline], page: HealthTogether, stopped: Callable[[], bool]
) -> None:
    """Turn every role in rounds until told to stop, or until none runs: raises why the last one does not."""
    was_ready = False
    while not stopped():
        worked = 0
        for number, flow in enumerate(flows):
            definitions.use(number)
            worked += flow.turn()
        page.turned()
        failures = [role.failure for flow in flows for role in flow.roles]
        if None not in failures and failures[-1] is not None:
            raise failures[-1]
        if not was_ready and page.look():
            was_ready = True
            say_size("every role is ready")
        if not worked:
            time.sleep(HELD_S if any(flow.held for flow in flows) else start.POLL_S)
