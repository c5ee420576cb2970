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
from penstock.stream.learn.sharing import LearnShards
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Log, Out
from penstock.stream.models.store import MemoryModelStore, ModelStore, RedisModelStore
from penstock.stream.process.clock import wall_ms
from penstock.stream.roles.identity import Identity, claim
from penstock.stream.shards import of_shard

SECRET = "within this process only"


class MemoryFlow:
    """featurize, learn and control of one pipeline over one `MemoryLog`, and challenge if it has challengers.

    `partitions` is that of every source topic that `log` does not have yet; `client` a Redis to keep state and features in
    (without it they are in memory, in `server` where one is given).
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
        server: MemoryServer | None = None,
    ) -> None:
        self.pipeline, self.client, self.guard, self.clock = pipeline, client, guard, clock
        self.log = log or MemoryLog()
        self.prefix, self.deployed = prefix, topology.deployed(pipeline.name, prefix)
        self.server = server or MemoryServer()
        self.models = self._models_of(pipeline.name)
        sources = [topology.Topic(source.name, partitions, {}, "events") for source in pipeline.sources]
        # A test may run the flow on Kafka, whose topics are there already.
        there = self.log.topics() if isinstance(self.log, MemoryLog) else None
        for topic in (*sources, *topology.owned(pipeline.name, prefix, pipeline.shards)):
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
        self.learning: LearnWorker | LearnShards = (
            self._new_learn(pipeline, self.log)
            if pipeline.shards == 1
            else LearnShards(pipeline, self.log, self._shard_learn, prefix=prefix)
        )
        self.control = ControlWorker(pipeline, self.log, clock, prefix=prefix)
        self.challenge: ChallengeWorker | None = None
        if pipeline.challengers:
            self.challenge = ChallengeWorker(
                pipeline, self.log, self.models, lambda: 0.0, lambda: 0.0, lambda _s: None, prefix=prefix
            )

    def store(self, task: str, name: str = "") -> StateStore:
        """The state store of one task of the pipeline, or of the shard of that name."""
        deployed = topology.deployed(name, self.prefix) if name else self.deployed
        if self.client is not None:
            count = self.log.partitions(self.pipeline.predict.name) if self.pipeline.partitioned else 0
            return RedisStateStore(self.client, deployed, task, partitions=count)
        return MemoryStateStore(self.server, deployed, task)

    @property
    def learn(self) -> LearnWorker:
        """The learn worker of a pipeline that learns in one piece."""
        assert isinstance(self.learning, LearnWorker), "this pipeline learns in shards"
        return self.learning

    def shard(self, number: int) -> LearnWorker:
        """The learn worker of one shard."""
        assert isinstance(self.learning, LearnShards), "this pipeline learns in one piece"
        return self.learning.workers[number]

    def _shard_learn(self, number: int, log: Log) -> LearnWorker:
        return self._new_learn(of_shard(self.pipeline, number), log)

    def _models_of(self, name: str) -> ModelStore:
        if self.client is None:
            return MemoryModelStore()
        return RedisModelStore(self.client, name, SECRET, prefix=self.prefix)

    def _new_learn(self, pipeline: Pipeline, log: Log) -> LearnWorker:
        whole = pipeline is self.pipeline
        models = self.models if whole else self._models_of(pipeline.name)
        retrainer = InlineRetrainer(pipeline, log, models, self.prefix)
        return LearnWorker(
            pipeline,
            log,
            self.store("learn", pipeline.name),
            models,
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
            + self.learning.process_batch(0.0)
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
        self.learning.close()
        self.control.close()
        if self.challenge is not None:
            self.challenge.close()
