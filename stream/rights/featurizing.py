"""Who writes samples and features: the featurize role, and, in its place, the bootstrap command and the job on Flink.

Laws of this file:
- tests/rights runs the first two with these rights and no others. What Flink's own clients ask of Kafka is derived from the job's
  tables (`flink.tables`); what its other parts ask of Kafka and of Redis is run there, too.
"""

from __future__ import annotations

from penstock.features.redis import keys
from penstock.stream import topology
from penstock.stream.rights.names import CONNECTION, IDENTITY, NO_KEY, STATE, Names
from penstock.stream.rights.right import KeyRight, Rights, commands, group, merged, topic, transactions

REACHED = ("hset", "hgetall", "pexpire")  # what workers that share partitions say to each other


def featurize(names: Names) -> Rights:
    """Reads the sources, writes samples; its state and documents are in Redis."""
    writes = (names.dead_letters, *names.topics(topology.CONTROL_ALERTS))
    reached = [names.key(keys.reached_key(names.deployed))] if names.pipeline.partitioned else []
    written = map(KeyRight, (names.live, names.documents, *reached))
    return Rights(
        "featurize",
        "the featurize role",
        merged(
            [
                *(topic(source, "Read") for source in names.sources),
                # Read: where state is gone, it looks whether the log begins with files.
                topic(names.samples, "Read", "Write", "DescribeConfigs"),
                # DescribeConfigs: how large a record the topic takes is looked up, so that none is lost for its size.
                *(topic(name, "Write", "DescribeConfigs") for name in writes),
                group(names.group("featurize"), "Read"),
                names.readers,
                group(names.group("learn"), "Describe"),  # it stays a little ahead of learn, not far
            ]
        ),
        (KeyRight(names.states), NO_KEY, names.identity, KeyRight(names.began, "read"), *written),
        commands(CONNECTION, IDENTITY, STATE, REACHED if reached else ()),
    )


def bootstrap(names: Names, learn: Rights) -> Rights:
    """Reads files, and of the sources only where they begin and end; writes what featurize writes, and what learn keeps.

    `learn` are the learn role's: what it keeps in Redis is the same, whatever it reads.
    """
    kept = (names.history, *names.topics(topology.CONTROL_MODELS))  # nobody is told of what is long past
    # Whether the pipeline has features already, and is not only split otherwise than it was.
    otherwise = (
        names.key(keys.position_key(names.deployed, "all"))
        if names.pipeline.partitioned
        else names.numbered_positions
    )
    of_its_own = keys.pattern(keys.private_prefix(names.deployed, "bootstrap:"))
    return Rights(
        "bootstrap",
        "penstock bootstrap, and the processes that learn meanwhile",
        merged(
            [
                *(topic(source, "Describe") for source in names.sources),
                # Read: learn reads it, and whoever goes on compares what was written.
                topic(names.samples, "Read", "Write", "DescribeConfigs"),
                *(topic(name, "Write", "DescribeConfigs") for name in (names.dead_letters, *kept)),
                # As featurize it looks whether this one is there, too, and writes nothing to it.
                *(topic(name, "Describe") for name in names.topics(topology.CONTROL_ALERTS)),
                group(names.group("learn"), "Read"),
                names.readers,
            ]
        ),
        (
            *map(KeyRight, (names.states, of_its_own, names.live, names.documents)),
            KeyRight(otherwise, "read"),
            KeyRight(names.began, "read"),
            *learn.keys,
        ),
        learn.commands,
    )


def flink(names: Names) -> Rights:
    """Reads the sources in no group, and writes in transactions; Redis has its states to be read, and no unit of work.

    It has one task, whether or not featurize workers would have one for each partition.
    """
    writes = (names.samples, names.dead_letters, *names.topics(topology.CONTROL_ALERTS))
    return Rights(
        "flink",
        "penstock flink, and the job that it submits, in place of the featurize role",
        (
            *(topic(source, "Read") for source in names.sources),
            *(topic(name, "Write") for name in writes),
            transactions(topology.flink_transactions(names.pipeline.name, names.prefix), "Write"),
        ),
        (
            KeyRight(names.of_all),
            KeyRight(names.numbered_positions, "read"),  # whether featurize workers have kept state
            KeyRight(names.began),
            names.identity,
            KeyRight(names.live, "write"),
            KeyRight(names.documents, "write"),
        ),
        commands(CONNECTION, IDENTITY, ("mset", "multi", "exec")),
    )
