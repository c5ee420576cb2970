"""The topics and keys of Penstock as data: what each holds, and which step reads and writes it. Users own their source topics.

Laws of this file:
- A pipeline's topics are `<prefix><pipeline>.<part>`; control topics are shared by all pipelines and keyed by pipeline name.
- The samples log has one partition: its order is the order in which the model changed.
- `of` says all that a step touches: what it does not name, no step reads or writes (tests run the flow and compare).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from penstock.features.redis import keys

KEEP_ALL = "-1"
DAYS_30 = str(30 * 86_400_000)


class Topic(NamedTuple):
    """One topic to create: `config` holds Kafka's own names and values."""

    name: str
    partitions: int
    config: dict[str, str]
    holds: str


class Keys(NamedTuple):
    """A space of Redis keys: what stands in `<…>` differs from key to key and holds no colon."""

    name: str
    holds: str

    def covers(self, key: str) -> bool:
        """Whether a key lies in this space."""
        fixed = re.split(r"<\w+>", self.name)
        return re.fullmatch("[^:]+".join(map(re.escape, fixed)), key) is not None


class Step(NamedTuple):
    """One step of the flow: a role, what is chained to one, or a tool of operators.

    `reads` and `writes` are topics, `keys` the Redis keys it writes, `reads_keys` those it reads and others write. A role has a
    consumer `group`; another step of the flow says `within` which role it runs, and a tool neither.
    """

    name: str
    does: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    keys: tuple[Keys, ...] = ()
    reads_keys: tuple[Keys, ...] = ()
    group: str = ""
    within: str = ""


class Topology(NamedTuple):
    """A pipeline as data: its topics, the steps of its flow in order, and the tools of operators."""

    pipeline: str
    sources: tuple[str, ...]
    topics: tuple[Topic, ...]
    steps: tuple[Step, ...]
    tools: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """The step or tool of this name. Raises `KeyError`."""
        return {step.name: step for step in (*self.steps, *self.tools)}[name]

    def holds(self, topic: str) -> str:
        """What a topic's records are. Raises `KeyError`."""
        return {one.name: one.holds for one in self.topics}[topic]


class Defined(Protocol):
    """What `of` asks of a definition; `definitions.Pipeline` is the real one."""

    @property
    def name(self) -> str: ...
    @property
    def sources(self) -> Sequence[Any]: ...
    @property
    def views(self) -> Sequence[Any]: ...
    @property
    def partitioned(self) -> bool: ...
    @property
    def retrain_cron(self) -> str | None: ...


CONTROL_RETRAIN = "control.retrain"
CONTROL_ROLLBACK = "control.rollback"
CONTROL_ALERTS = "control.alerts"
CONTROL_MODELS = "control.models"
CONTROL_COMMANDS = "control.commands"
CONTROL_DECISIONS = "control.decisions"
CONTROL_READS = (CONTROL_MODELS, CONTROL_COMMANDS, CONTROL_RETRAIN, CONTROL_ROLLBACK, CONTROL_ALERTS)
CONTROL_ALL = (*CONTROL_READS, CONTROL_DECISIONS)


def samples(pipeline: str, prefix: str = "") -> str:
    """The ordered log of everything that ever changed the model."""
    return f"{prefix}{pipeline}.samples"


def predictions(pipeline: str, prefix: str = "") -> str:
    """One JSON prediction per sample."""
    return f"{prefix}{pipeline}.predictions"


def dead_letters(pipeline: str, prefix: str = "") -> str:
    """Records that could not be used, with their original bytes and the reason in headers."""
    return f"{prefix}{pipeline}.dead-letters"


def policy_changelog(pipeline: str, prefix: str = "") -> Topic:
    """What the control role remembers; it makes the topic itself, by Faust's naming."""
    name = f"{consumer_group(pipeline, 'control', prefix)}-policy-changelog"
    return Topic(name, 1, {"cleanup.policy": "compact"}, "PolicyState, JSON")


def consumer_group(pipeline: str, role: str, prefix: str = "") -> str:
    """The consumer group of a role: `featurize`, `learn` or `control`."""
    return f"{prefix}{pipeline}.{role}"


def owned(pipeline: str, prefix: str = "") -> list[Topic]:
    """Every topic Penstock writes for one pipeline, the shared control topics among them."""
    kept = {"retention.ms": KEEP_ALL, "cleanup.policy": "delete"}
    audit = {"retention.ms": KEEP_ALL, "cleanup.policy": "delete"}
    month = {"retention.ms": DAYS_30, "cleanup.policy": "delete"}
    compacted = {"cleanup.policy": "compact"}
    return [
        Topic(samples(pipeline, prefix), 1, kept, "Recipe | Sample | Label | Tick | Command, MessagePack"),
        Topic(predictions(pipeline, prefix), 1, month, "Prediction, JSON, keyed by entity"),
        Topic(
            dead_letters(pipeline, prefix),
            1,
            month,
            "the original bytes; reason, topic, partition, offset in headers",
        ),
        Topic(prefix + CONTROL_RETRAIN, 1, audit, "CloudEvents: a retrain is requested"),
        Topic(prefix + CONTROL_ROLLBACK, 1, audit, "CloudEvents: a rollback is requested"),
        Topic(prefix + CONTROL_ALERTS, 1, audit, "CloudEvents: hold, promotion, notes"),
        Topic(prefix + CONTROL_MODELS, 1, compacted, "LiveModel: what is live, and why"),
        Topic(prefix + CONTROL_COMMANDS, 1, audit, "OperatorRequest: what people ask for"),
        Topic(prefix + CONTROL_DECISIONS, 1, audit, "Decision: what was decided on each request, and why"),
    ]


def of(pipeline: Defined, prefix: str = "") -> Topology:
    """Which step of this pipeline reads and writes which topics and Redis keys."""
    name = pipeline.name
    sources = tuple(source.name for source in pipeline.sources)
    topics = (
        *(Topic(source, 0, {}, "events, JSON; yours") for source in sources),
        *owned(name, prefix),
        policy_changelog(name, prefix),
    )
    return Topology(
        name, sources, topics, _steps(pipeline, sources, prefix), _tools(pipeline, sources, prefix)
    )


def _stored(pipeline: Defined) -> str:
    """The name under which a pipeline's keys stand in Redis."""
    return pipeline.name


def _features(pipeline: Defined) -> tuple[Keys, ...]:
    """What any service may read."""
    name = _stored(pipeline)
    documents = [
        Keys(keys.public_key(name, view.name, "<entity>"), "features, JSON; public")
        for view in pipeline.views
    ]
    return *documents, Keys(keys.live_key(name), "which version of each view is served, JSON; public")


def _private(pipeline: Defined) -> tuple[Keys, ...]:
    """What featurize alone reads and writes."""
    name, task = _stored(pipeline), "<partition>" if pipeline.partitioned else "all"
    states = [
        Keys(keys.state_key(name, task, view.name, "<version>", "<entity>"), "state of an entity")
        for view in pipeline.views
    ]
    return *states, Keys(keys.definition_key(name, task), "what the states mean"), *_ownership(name, task)


def _ownership(name: str, task: str) -> tuple[Keys, ...]:
    return (
        Keys(keys.position_key(name, task), "how far it has come; one with the state"),
        Keys(keys.token_key(name, task), "who owns it"),
        Keys(keys.generation_key(name, task), "this Redis has not lost it"),
    )


def _pieces(name: str) -> tuple[Keys, ...]:
    """What the learner's snapshot is made of."""
    prefix = keys.states_prefix(name, "learn")
    return Keys(f"{prefix}piece:<digest>", "a part of the fold"), Keys(
        f"{prefix}pieces", "which parts there are"
    )


def _model_keys(name: str) -> tuple[Keys, Keys, Keys]:
    return (
        Keys(f"penstock:{name}:learn:snapshot", "the fold, a list of pieces; signed"),
        Keys(f"model:{name}", "which model is live, JSON; public"),
        Keys(f"penstock:{name}:versions", "model versions; signed"),
    )


def _steps(pipeline: Defined, sources: tuple[str, ...], prefix: str) -> tuple[Step, ...]:
    name = pipeline.name
    log = samples(name, prefix)
    snapshot, live, versions = _model_keys(_stored(pipeline))
    changelog = policy_changelog(name, prefix).name
    scheduled = (prefix + CONTROL_COMMANDS,) if pipeline.retrain_cron else ()
    return (
        Step(
            "featurize",
            "windows per entity; a sample per event to predict, a label per outcome",
            sources,
            (log, dead_letters(name, prefix)),
            (*_features(pipeline), *_private(pipeline)),
            group=consumer_group(name, "featurize", prefix),
        ),
        Step(
            "learn",
            "predicts at the sample, learns at the label, carries out commands",
            (log,),
            (predictions(name, prefix), prefix + CONTROL_MODELS, log),
            (snapshot, *_pieces(_stored(pipeline)), live, versions, *_ownership(_stored(pipeline), "learn")),
            group=consumer_group(name, "learn", prefix),
        ),
        Step(
            "watch",
            "finds drift of the loss, of inputs and scores, and broken data",
            writes=tuple(prefix + topic for topic in (CONTROL_RETRAIN, CONTROL_ROLLBACK, CONTROL_ALERTS)),
            within="chained to learn",
        ),
        Step(
            "retrain",
            "folds a stretch of the samples log into a version, for learn to adopt",
            (log,),
            (log,),
            (versions,),
            within="a process that learn starts",
        ),
        Step(
            "control",
            "policy, cooldown, schedule, approval: requests become decisions and commands",
            (*(prefix + topic for topic in CONTROL_READS), changelog),
            (log, prefix + CONTROL_DECISIONS, changelog, *scheduled),
            group=consumer_group(name, "control", prefix),
        ),
    )


def _tools(pipeline: Defined, sources: tuple[str, ...], prefix: str) -> tuple[Step, ...]:
    name = pipeline.name
    log, letters = samples(name, prefix), dead_letters(name, prefix)
    snapshot, live, versions = _model_keys(_stored(pipeline))
    features, states = _features(pipeline), _private(pipeline)
    answers = (prefix + CONTROL_DECISIONS, prefix + CONTROL_MODELS)
    asks = "retrain, rollback, hold, resume, promote, accept"
    every = tuple(prefix + topic for topic in CONTROL_ALL)
    tail = (log, predictions(name, prefix), letters, *every)
    return (
        Step(asks, "ask for it, and wait for the answer", answers, (prefix + CONTROL_COMMANDS,)),
        Step("watch (command)", "tells what happens", every),
        Step("status", "one screen: is all well?", (*tail, *sources), reads_keys=(live,)),
        Step("check --sample", "are the producers' records right?", sources),
        Step("publish", "a file's lines into a topic", writes=sources),
        Step("dead-letters", "lists them; --republish sends them back", (letters,), sources),
        Step("features get", "what a service would read", reads_keys=(*features, *states)),
        Step("models", "the versions", reads_keys=(live, versions)),
        Step(
            "export, replay",
            "samples as rows; the fold again",
            (log,),
            reads_keys=(snapshot, *_pieces(_stored(pipeline)), versions),
        ),
        Step("backfill", "brings a changed definition over", sources, (log,), (*features, *states)),
        Step(
            "reset",
            "takes everything away",
            (),
            (),
            (*features, *states, snapshot, *_pieces(name), live, versions),
        ),
    )
