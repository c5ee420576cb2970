"""The flow of a pipeline as data: which step reads and writes which topics and Redis keys.

Laws of this file:
- `of` says all that a step touches: what it does not name, no step reads or writes (tests run the flow and compare).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from penstock.features.redis import keys
from penstock.stream import topology
from penstock.stream.definitions import Pipeline

#: Where what was found is told.
FOUND = (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)


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
    consumer `group`; another step of the flow says `within` which role it runs, and a tool neither. `looks_at` are topics of
    which only the beginning is looked at, and only at a start.
    """

    name: str
    does: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    keys: tuple[Keys, ...] = ()
    reads_keys: tuple[Keys, ...] = ()
    group: str = ""
    within: str = ""
    looks_at: tuple[str, ...] = ()


class Topology(NamedTuple):
    """A pipeline as data: its topics, the steps of its flow in order, and the tools of operators."""

    pipeline: str
    sources: tuple[str, ...]
    topics: tuple[topology.Topic, ...]
    steps: tuple[Step, ...]
    tools: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """The step or tool of this name. Raises `KeyError`."""
        return {step.name: step for step in (*self.steps, *self.tools)}[name]

    def holds(self, topic: str) -> str:
        """What a topic's records are. Raises `KeyError`."""
        return {one.name: one.holds for one in self.topics}[topic]


def of(pipeline: Pipeline, prefix: str = "") -> Topology:
    """Which step of this pipeline reads and writes which topics and Redis keys."""
    name = pipeline.name
    sources = tuple(source.name for source in pipeline.sources)
    topics = (
        *(topology.Topic(source, 0, {}, "events, JSON; yours") for source in sources),
        *topology.owned(name, prefix, pipeline.shards),
        topology.policy_changelog(name, prefix),
    )
    return Topology(
        name, sources, topics, _steps(pipeline, sources, prefix), _tools(pipeline, sources, prefix)
    )


def _learnt(pipeline: Pipeline, prefix: str) -> str:
    """By what name learn keeps what it knows: the pipeline's as deployed, or one for each shard."""
    stored = topology.deployed(pipeline.name, prefix)
    return stored if pipeline.shards == 1 else f"{stored}.<shard>"


def _features(pipeline: Pipeline, stored: str) -> tuple[Keys, ...]:
    """What any service may read."""
    documents = [
        Keys(keys.public_key(stored, view.name, "<entity>"), "features, JSON; public")
        for view in pipeline.views
    ]
    return *documents, Keys(keys.live_key(stored), "which version of each view is served, JSON; public")


def _private(pipeline: Pipeline, stored: str) -> tuple[Keys, ...]:
    """What featurize alone reads and writes."""
    name, task = stored, "<partition>" if pipeline.partitioned else "all"
    states = [
        Keys(keys.state_key(name, task, view.name, "<version>", "<entity>"), "state of an entity")
        for view in pipeline.views
    ]
    identity = Keys(keys.identity_key(name), "whose keys these are; whoever starts first writes it")
    reached = Keys(keys.reached_key(name), "how far in event time each task is; it expires")
    return (
        *states,
        Keys(keys.definition_key(name, task), "what the states mean"),
        *_ownership(name, task),
        identity,
        *([reached] if pipeline.partitioned else []),
    )


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


def _replica(name: str) -> tuple[Keys, ...]:
    """What answers on request are made with."""
    prefix = keys.states_prefix(name, "learn")
    return (
        Keys(keys.replica_key(name), "the models that serve answers with, a list of pieces; signed"),
        Keys(f"{prefix}replica-piece:<digest>", "a part of them"),
        Keys(f"{prefix}replica-pieces", "which parts there are"),
    )


def _wanted(name: str) -> Keys:
    return Keys(keys.wanted_key(name), "there while a serve role runs: it asks learn for replicas")


def _model_keys(name: str) -> tuple[Keys, Keys, Keys]:
    return (
        Keys(keys.snapshot_key(name), "the fold, a list of pieces; signed"),
        Keys(keys.model_key(name), "which models are live, and how much each counts, JSON; public"),
        Keys(keys.versions_key(name), "model versions; signed"),
    )


def _steps(pipeline: Pipeline, sources: tuple[str, ...], prefix: str) -> tuple[Step, ...]:
    name, stored, learnt = pipeline.name, topology.deployed(pipeline.name, prefix), _learnt(pipeline, prefix)
    log = topology.samples(name, prefix)
    snapshot, live, versions = _model_keys(learnt)
    changelog = topology.policy_changelog(name, prefix).name
    return (
        Step(
            "featurize",
            "windows per entity; a sample per event to predict, a label per outcome",
            sources,
            (log, topology.dead_letters(name, prefix), prefix + topology.CONTROL_ALERTS),
            (*_features(pipeline, stored), *_private(pipeline, stored)),
            group=topology.consumer_group(name, "featurize", prefix),
            looks_at=(log,),  # where state is gone: whether it begins with files
        ),
        Step(
            "learn",
            "models predict together at the sample, and learn at the label; carries out commands",
            (log,),
            (
                topology.predictions(name, prefix),
                topology.history(name, prefix),
                prefix + topology.CONTROL_MODELS,
                log,
            ),
            (snapshot, *_pieces(learnt), *_replica(learnt), live, versions, *_ownership(learnt, "learn")),
            group=topology.consumer_group(name, "learn", prefix),
        ),
        Step(
            "watch",
            "tells of drift of the loss, of inputs and scores, and of broken data",
            writes=tuple(
                prefix + topic
                for topic in (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)
            ),
            within="chained to learn",
        ),
        Step(
            "retrain",
            "folds a stretch of the samples log into a version, which then takes part in learn",
            (log,),
            (log,),
            (versions,),
            within="a process that learn starts",
        ),
        *_challenge(pipeline, log, versions, prefix),
        Step(
            "control",
            "approval, a cooldown between retrain jobs: requests become decisions and commands",
            (*(prefix + topic for topic in topology.CONTROL_READS), changelog),
            (log, prefix + topology.CONTROL_DECISIONS, changelog),
            group=topology.consumer_group(name, "control", prefix),
        ),
    )


def _challenge(pipeline: Pipeline, log: str, versions: Keys, prefix: str) -> tuple[Step, ...]:
    if not pipeline.challengers:
        return ()
    step = Step(
        "challenge",
        "races other models over the samples log; winners take part in learn",
        (log, prefix + topology.CONTROL_MODELS),
        (log,),
        (versions,),
        group=topology.consumer_group(pipeline.name, "challenge", prefix),
    )
    return (step,)


def _tools(pipeline: Pipeline, sources: tuple[str, ...], prefix: str) -> tuple[Step, ...]:
    name, stored, learnt = pipeline.name, topology.deployed(pipeline.name, prefix), _learnt(pipeline, prefix)
    log, letters = topology.samples(name, prefix), topology.dead_letters(name, prefix)
    snapshot, live, versions = _model_keys(learnt)
    features, states = _features(pipeline, stored), _private(pipeline, stored)
    answers = (prefix + topology.CONTROL_DECISIONS, prefix + topology.CONTROL_MODELS)
    asks = "retrain, rollback, hold, resume, promote, accept"
    every = tuple(prefix + topic for topic in topology.CONTROL_ALL)
    tail = (log, topology.predictions(name, prefix), letters, *every)
    return (
        Step(asks, "ask for it, and wait for the answer", answers, (prefix + topology.CONTROL_COMMANDS,)),
        Step("watch (command)", "tells what happens", every),
        Step("status", "one screen: is all well?", (*tail, *sources), reads_keys=(live,)),
        Step("history", "how it did, block by block", (topology.history(name, prefix),)),
        Step("check --sample", "are the producers' records right?", sources),
        Step("publish", "a file's lines into a topic", writes=sources),
        Step("dead-letters", "lists them; --republish sends them back", (letters,), sources),
        Step("features get", "what a service would read", reads_keys=(*features, *states)),
        Step(
            "serve",
            "predictions and features on request, over HTTP",
            reads_keys=(*features, *states, *_replica(learnt), _wanted(learnt), versions),
        ),
        Step("models", "the models of now, and stored versions", reads_keys=(live, versions)),
        Step(
            "export, replay",
            "samples as rows; the fold again",
            (log,),
            reads_keys=(snapshot, *_pieces(learnt), versions),
        ),
        Step(
            "explain",
            "why a prediction was what it was",
            (log, topology.predictions(name, prefix)),
            reads_keys=(snapshot, live, versions),
        ),
        Step(
            "score",
            "predictions for a file's rows",
            sources,
            reads_keys=(*states, snapshot, *_pieces(learnt), live, versions),
        ),
        Step(
            "what-if",
            "another definition over the same history",
            (log, topology.predictions(name, prefix), *sources),
        ),
        Step("backfill", "brings a changed definition over", sources, (log,), (*features, *states)),
        Step(
            "reset",
            "takes everything away",
            (),
            (),
            (*features, *states, snapshot, *_pieces(learnt), live, versions),
        ),
    )
