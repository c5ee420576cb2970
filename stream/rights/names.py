"""The names of one deployed pipeline in Kafka and in Redis, and what every role asks of Redis.

Laws of this file:
- Topics, groups and keys are named by the functions that the roles name them by (`topology`, `keys`): a name that changes there
  changes here.
"""

from __future__ import annotations

from penstock.features.redis import keys
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.rights.right import KeyRight, group

#: What a client asks when it connects: its own name, which the server may refuse, and the health of the server.
CONNECTION = ("ping", "client|setinfo", "info")
#: Whose keys these are: the first start says it, every other reads it.
IDENTITY = ("mget", "get", "set")
#: A task's state: scripts, and what they call.
STATE = ("evalsha", "eval", "script|load", "get", "mget", "set", "unlink", "scan")
#: The key with the empty name, which never stands: the script of a unit names it where a write has no public document.
NO_KEY = KeyRight("")
VERSIONS_READ = ("hget", "hkeys")


class Names:
    """What one pipeline as deployed is called everywhere; keys are globs, as Redis' rules have them."""

    def __init__(self, pipeline: Pipeline, prefix: str, client_id: str) -> None:
        self.pipeline, self.prefix = pipeline, prefix
        self.deployed = topology.deployed(pipeline.name, prefix)
        self.sources = [source.name for source in pipeline.sources]
        name = pipeline.name
        self.samples = topology.samples(name, prefix)
        self.predictions = topology.predictions(name, prefix)
        self.history = topology.history(name, prefix)
        self.dead_letters = topology.dead_letters(name, prefix)
        self.changelog = topology.policy_changelog(name, prefix).name
        self.readers = group(topology.reader_groups(client_id), "Describe", prefixed=True)
        self.identity = KeyRight(self.key(keys.identity_key(self.deployed)))
        self.began = self.key(keys.began_key(self.deployed))
        self.versions = self.key(keys.versions_key(self.deployed))
        # The live key and every document below it: `features:<deployed>` and `features:<deployed>:...`.
        self.live = self.key(keys.live_key(self.deployed))
        self.documents = keys.pattern(keys.public_key(self.deployed, "", "").removesuffix(":"))
        # The private keys of a pipeline's one task, or of those that are named by a partition's number.
        self.of_all = keys.pattern(keys.private_prefix(self.deployed, "all:"))
        tasks = keys.pattern(keys.private_prefix(self.deployed)).removesuffix("*") + "[0-9]*:"
        self.numbered_positions = f"{tasks}position"
        self.states = f"{tasks}*" if pipeline.partitioned else self.of_all
        # Until it has looked which tasks there are, a reader asks for the states of one that is called "all".
        self.states_read = dict.fromkeys((self.states, self.of_all))

    @staticmethod
    def key(name: str) -> str:
        """The glob of one key."""
        return keys.pattern(name).removesuffix("*")

    def group(self, role: str) -> str:
        """The consumer group of a role."""
        return topology.consumer_group(self.pipeline.name, role, self.prefix)

    def topics(self, *names: str) -> list[str]:
        """Control topics, which all pipelines share."""
        return [self.prefix + name for name in names]
