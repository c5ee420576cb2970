"""The whole flow on the in-memory log, in one thread: the same workers, the same steps, no broker.

Laws of this file:
- Nothing sleeps and nothing depends on timing: `settle` turns every role until none has anything left to do.
- What outlives the process is what lies in the given Redis, if one is given; the log does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import redis

from penstock.features.redis.keyspace import MemoryKeyspace, RedisKeyspace
from penstock.features.redis.store import MemoryServer, MemoryStateStore, RedisStateStore, StateStore, address
from penstock.stream import topology
from penstock.stream.challenge.worker import ChallengeWorker
from penstock.stream.control.step import ControlWorker
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.learn.retrain import InlineRetrainer
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.models.store import MemoryModelStore, ModelStore, RedisModelStore
from penstock.stream.process.clock import wall_ms
from penstock.stream.roles.identity import Identity, claim

SECRET = "within this process only"


class MemoryFlow:
    """featurize, learn and control of one pipeline over one `MemoryLog`, and challenge if it has challengers.

    `partitions` is that of every source topic that `log` does not have yet; `client` a Redis to keep state and features in
    (without it they are in memory).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        partitions: int = 2,
        client: redis.Redis | None = None,
        guard: bool = True,
        log: MemoryLog | None = None,
        clock: Callable[[], int] = wall_ms,
        prefix: str = "",
    ) -> None:
        self.pipeline, self.client, self.guard, self.clock = pipeline, client, guard, clock
        self.log = log or MemoryLog()
        self.prefix, self.deployed = prefix, topology.deployed(pipeline.name, prefix)
        self.server = MemoryServer()
        self.models: ModelStore = (
            MemoryModelStore()
            if client is None
            else RedisModelStore(client, pipeline.name, SECRET, prefix=prefix)
        )
        sources = [topology.Topic(source.name, partitions, {}, "events") for source in pipeline.sources]
        # A test may run the flow on Kafka, whose topics are there already.
        there = self.log.topics() if isinstance(self.log, MemoryLog) else None
        for topic in (*sources, *topology.owned(pipeline.name, prefix)):
            if there is not None and topic.name not in there:
                self.log.create(topic.name, topic.partitions)
        keyspace = MemoryKeyspace(self.server) if client is None else RedisKeyspace(client)
        where = "this process" if client is None else address(client)
        cluster = self.log.cluster_id()
        claim(
            keyspace, Identity(pipeline=pipeline.name, prefix=prefix, cluster=cluster, kafka="memory"), where
        )
        self.featurize = FeaturizeWorker(
            pipeline, self.log, self.store, clock, prefix=prefix, keyspace=keyspace
        )
        self.learn = self._new_learn()
        self.control = ControlWorker(pipeline, self.log, clock, prefix=prefix)
        self.challenge: ChallengeWorker | None = None
        if pipeline.challengers:
            self.challenge = ChallengeWorker(
                pipeline, self.log, self.models, lambda: 0.0, lambda: 0.0, lambda _s: None, prefix=prefix
            )

    def store(self, task: str) -> StateStore:
        """The state store of one task."""
        if self.client is not None:
            count = self.log.partitions(self.pipeline.predict.name) if self.pipeline.partitioned else 0
            return RedisStateStore(self.client, self.deployed, task, partitions=count)
        return MemoryStateStore(self.server, self.deployed, task)

    def _new_learn(self) -> LearnWorker:
        retrainer = InlineRetrainer(self.pipeline, self.log, self.models, self.prefix)
        return LearnWorker(
            self.pipeline,
            self.log,
            self.store("learn"),
            self.models,
            retrainer,
            SECRET,
            self.clock,
            prefix=self.prefix,
            guard=self.guard,
        )

    def feed(self, outs: Sequence[Out]) -> None:
        """Append records to the source topics."""
        self.log.append(outs)

    def process_batches(self) -> int:
        """One turn of every role; how many records were worked on."""
        return (
            self.featurize.process_batch(0.0)
            + self.learn.process_batch(0.0)
            + self.control.process_batch(0.0)
            + (0 if self.challenge is None else self.challenge.process_batch(0.0))
        )

    def settle(self, quiet_turns: int = 4) -> None:
        """Turn until nothing happens any more."""
        quiet = 0
        while quiet < quiet_turns:
            quiet = 0 if self.process_batches() else quiet + 1

    def close(self) -> None:
        """End every role as a stop would."""
        self.featurize.close()
        self.learn.close()
        self.control.close()
        if self.challenge is not None:
            self.challenge.close()
