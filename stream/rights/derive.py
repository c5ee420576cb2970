"""The least rights of every role of a pipeline, from its definition and the settings' prefix.

Laws of this file:
- tests/rights runs every role with these rights and no others, on a broker with ACLs and a Valkey with users, and takes some
  away one by one: a role without one of them ends and says which.
- Nobody needs a right on the cluster, and nobody but the job on Flink one on transactional ids: producers are idempotent, which
  Kafka 3.0 and later allow to whoever may write, and the units of work are in Redis.
"""

from __future__ import annotations

from penstock.features.redis import keys
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.rights.featurizing import bootstrap, featurize, flink
from penstock.stream.rights.names import CONNECTION, IDENTITY, NO_KEY, STATE, VERSIONS_READ, Names
from penstock.stream.rights.right import KafkaRight, KeyRight, Rights, commands, group, merged, topic

#: What the console's pages ask; `scan` where features of another pipeline are asked for, to name those that there are.
PAGES = tuple(sorted(("client|setinfo", "mget", "scan", *VERSIONS_READ)))
VERSIONS_WRITE = (*VERSIONS_READ, "hset", "hdel")


def rights_of(pipeline: Pipeline, prefix: str = "", client_id: str = "") -> list[Rights]:
    """Every role's rights, the most important first. `client_id` is the settings' (what names readers without a group)."""
    return _Rights(pipeline, prefix, client_id or f"{prefix}penstock").all()


class _Rights(Names):
    """Who may do what with the names of one deployed pipeline."""

    def all(self) -> list[Rights]:
        """In the order in which they are printed."""
        learn, challenge = self.learn(), [self.challenge()] if self.pipeline.challengers else []
        return [
            featurize(self), learn, self.control(), *challenge, self.serve(), bootstrap(self, learn), flink(self),
            self.viewer(), self.acting(), self.operator(), self.admin(), self.producer(), self.feature_reader(),
            self.prediction_reader(),
        ]  # fmt: skip

    def learn(self) -> Rights:
        """Reads samples, and writes what follows; its snapshots and versions are in Redis."""
        told = (
            topology.CONTROL_RETRAIN,
            topology.CONTROL_ROLLBACK,
            topology.CONTROL_ALERTS,
            topology.CONTROL_MODELS,
        )
        writes = (self.predictions, self.history, *self.topics(*told))
        return Rights(
            "learn",
            "the learn role, and the retrains that it starts",
            merged(
                [
                    topic(self.samples, "Read", "Write", "DescribeConfigs"),
                    *(topic(name, "Write", "DescribeConfigs") for name in writes),
                    group(self.group("learn"), "Read"),
                    self.readers,
                ]
            ),
            (
                KeyRight(keys.pattern(keys.private_prefix(self.deployed, "learn:"))),
                NO_KEY,
                self.identity,
                KeyRight(self.versions),
                KeyRight(self.key(keys.model_key(self.deployed))),
                KeyRight(self.key(keys.wanted_key(self.deployed)), "read"),
            ),
            commands(CONNECTION, IDENTITY, STATE, VERSIONS_WRITE),
        )

    def control(self) -> Rights:
        """Reads the control topics, writes commands and decisions; its memory is a topic that it makes by itself."""
        reads = self.topics(*topology.CONTROL_READS)
        return Rights(
            "control",
            "the control role",
            merged(
                [
                    *(topic(name, "Read") for name in reads),
                    topic(self.prefix + topology.CONTROL_DECISIONS, "Write"),
                    topic(self.samples, "Write"),
                    topic(self.predictions, "Describe"),  # it looks whether every topic is there
                    topic(self.history, "Describe"),
                    topic(self.changelog, "Create", "Read", "Write", "DescribeConfigs"),
                    group(self.group("control"), "Read"),
                ]
            ),
            (self.identity,),
            commands(CONNECTION, IDENTITY),
        )

    def challenge(self) -> Rights:
        """Reads samples and which models are live; writes versions, and the commands that name them."""
        return Rights(
            "challenge",
            "the challenge role",
            (
                topic(self.samples, "Read", "Write", "DescribeConfigs"),
                topic(self.prefix + topology.CONTROL_MODELS, "Read"),
                group(self.group("challenge"), "Read"),
                self.readers,
            ),
            (self.identity, KeyRight(self.versions)),
            commands(CONNECTION, IDENTITY, VERSIONS_WRITE),
        )

    def serve(self) -> Rights:
        """Needs no Kafka. Writes one key: that it is there."""
        replica = keys.pattern(keys.replica_key(self.deployed))  # and its pieces
        reads = (*self.states_read, replica, self.versions, self.identity.pattern, self.live)
        return Rights(
            "serve",
            "the serve role; it needs no Kafka",
            (),
            (
                *(KeyRight(one, "read") for one in reads),
                KeyRight(self.key(keys.wanted_key(self.deployed)), "write"),
            ),
            commands(("client|setinfo",), ("mget", "set"), VERSIONS_READ),
        )

    def _reads(self) -> list[KafkaRight]:
        """What whoever looks reads: every topic of the pipeline, and how far each role is."""
        own = (self.samples, self.predictions, self.history, self.dead_letters)
        return [
            *(topic(name, "Read") for name in (*own, *self.topics(*topology.CONTROL_ALL))),
            *(topic(source, "Describe") for source in self.sources),  # how far behind featurize is
            topic(self.changelog, "Read"),
            *(group(self.group(role), "Describe") for role in topology.ROLES),
        ]

    def viewer(self) -> Rights:
        """Looks, and writes nothing."""
        return Rights(
            "viewer",
            "the console where nobody acts; status, watch, history",
            merged([*self._reads(), self.readers]),
            self._looks_at(),
            PAGES,
        )

    def _asks(self) -> list[KafkaRight]:
        return [*self._reads(), self.readers, topic(self.prefix + topology.CONTROL_COMMANDS, "Write")]

    def _looks_at(self) -> tuple[KeyRight, ...]:
        """What pages read from Redis: features as of a moment, what is live, how learn runs, versions."""
        snapshot, model = keys.snapshot_key(self.deployed), keys.model_key(self.deployed)
        reads = (
            *self.states_read,
            self.live,
            self.documents,
            self.versions,
            self.key(snapshot),
            self.key(model),
        )
        return tuple(KeyRight(one, "read") for one in reads)

    def acting(self) -> Rights:
        """As the viewer, and may ask, and send dead letters back."""
        return Rights(
            "console",
            "the console where people act, and send dead letters back to the sources",
            merged([*self._asks(), *(topic(source, "Write") for source in self.sources)]),
            self._looks_at(),
            PAGES,
        )

    def operator(self) -> Rights:
        """People at the command line: they ask, explain, score, and read events, features and versions."""
        everything = (keys.pattern(keys.private_prefix(self.deployed)), self.documents, self.live)
        return Rights(
            "operator",
            "people's commands that read or ask: rollback, retrain, explain, features, models, score, report …",
            merged([*self._asks(), *(topic(source, "Read") for source in self.sources)]),
            tuple(KeyRight(one, "read") for one in (*everything, self.key(keys.model_key(self.deployed)))),
            commands(CONNECTION, VERSIONS_READ, ("get", "mget", "scan")),
        )

    def admin(self) -> Rights:
        """Who makes topics, starts over, builds another definition's features, and names versions."""
        own = [one.name for one in topology.owned(self.pipeline.name, self.prefix)] + [self.changelog]
        everything = (keys.pattern(keys.private_prefix(self.deployed)), self.documents, self.live)
        return Rights(
            "admin",
            "the commands that make and delete: topics, reset, backfill, models alias and import, dead-letters --republish",
            merged(
                [
                    *(topic(name, "Create", "Delete", "Read", "Write", "DescribeConfigs") for name in own),
                    *(topic(source, "Create", "Read", "Write", "DescribeConfigs") for source in self.sources),
                    *(group(self.group(role), "Read", "Delete") for role in topology.ROLES),
                    self.readers,
                ]
            ),
            (
                *(KeyRight(one) for one in (*everything, self.key(keys.model_key(self.deployed)))),
                NO_KEY,
            ),
            commands(CONNECTION, IDENTITY, STATE, VERSIONS_WRITE),
        )

    def producer(self) -> Rights:
        """Whoever sends events."""
        return Rights(
            "producer", "producers of events", tuple(topic(source, "Write") for source in self.sources)
        )

    def feature_reader(self) -> Rights:
        """Whoever reads features, in any language; it sees no private state."""
        reads = (self.live, self.documents, self.key(keys.model_key(self.deployed)))
        return Rights(
            "features",
            "readers of features, and of which model is live",
            (),
            tuple(KeyRight(one, "read") for one in reads),
            ("client|setinfo", "get", "mget"),
        )

    def prediction_reader(self) -> Rights:
        """Whoever reads predictions, in a group whose name begins with `<deployed>.readers`."""
        return Rights(
            "predictions",
            "readers of predictions, in groups of their own",
            (topic(self.predictions, "Read"), group(f"{self.deployed}.readers", "Read", prefixed=True)),
        )
