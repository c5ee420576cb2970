"""Control records → decisions → commands: the one step both shells share, and the shell on a plain log.

On Kafka the shell is the Faust app (`faust_shell.py`), or `kept.py` where one process runs several roles. `ControlWorker` is the
shell for the log in memory, where the process and its state end together.

Laws of this file:
- `control_step` only changes the state it is given; `take_due` only takes from it what is to be sent. A shell
  that stores the state before it sends, and again after, sends everything at least once and never two
  different decisions on one request.
- A pipeline that learns in shards has a state for each. A request to the whole pipeline is one to each of its shards, and there
  the shard's number ends its id.
- A record that cannot be read is an `Undecodable` with the reason; it is counted and stops nothing. Where it could have
  been a request it is refused in the audit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from penstock.stream import topology
from penstock.stream.control.policy import decide, due, observe, withdraw
from penstock.stream.control.refusal import refuse
from penstock.stream.control.state import PolicyConfig, PolicyState
from penstock.stream.definitions import Pipeline
from penstock.stream.log.protocol import TP, Log, Out, Packed, Record
from penstock.stream.messages import (
    OperatorRequest,
    decode_control_event,
    decode_live_model,
    decode_operator_request,
    encode_entry,
    encode_json,
)
from penstock.stream.process.terminal import printable
from penstock.stream.shards import names_of

logger = logging.getLogger("penstock.control")

READ_TOPICS = topology.CONTROL_READS
RESEND_MS = 10_000
BATCH_RECORDS = 500
MOST_RECORD_BYTES = 65_536  # of a control record: what is kept of them is itself one record


class Undecodable(ValueError):
    """A control record that is not the message its topic holds. `refused` says that it changed the state: a decision says so."""

    def __init__(self, why: str, *, refused: bool) -> None:
        super().__init__(why)
        self.refused = refused


class Taken(NamedTuple):
    """Whether a record changed the state, and whether it could be read."""

    changed: bool
    readable: bool


def warn_of_deleted(topic: str, position: int, start: int) -> None:
    """Say which records of a control topic were deleted before they were read. Of the models only the newest is wanted."""
    if 0 < position < start and not topic.endswith(topology.CONTROL_MODELS):
        logger.warning(
            "%s: records %d to %d were deleted before control read them; what they asked for is not done. Let the topic keep its "
            "records for longer than control may be away", topic, position, start - 1,
        )  # fmt: skip


def control_step(
    state: PolicyState, topic: str, value: bytes | None, config: PolicyConfig, wall_ms: int, offset: int = -1
) -> bool:
    """Take the record at `offset` of a control topic (its name without the prefix); whether it changed `state`.

    Records of other pipelines, tombstones, notes and reports change nothing. Raises `Undecodable`.
    """
    if value is None:
        return False
    try:
        if isinstance(value, Packed):
            raise msgspec.ValidationError(value.decode())
        if len(value) > MOST_RECORD_BYTES:
            raise msgspec.ValidationError(f"it has {len(value):,} bytes, the most is {MOST_RECORD_BYTES:,}")
        if topic == topology.CONTROL_MODELS:
            live = decode_live_model(value)
            if live.pipeline != state.pipeline:
                return False
            observe(state, live)
            return True
        if topic == topology.CONTROL_COMMANDS:
            asked = addressed(decode_operator_request(value), state.pipeline)
            return asked is not None and decide(state, asked, config, wall_ms) is not None
        event = decode_control_event(value)
        if event.data.pipeline != state.pipeline:
            return False
        ended = withdraw(state, event)
        if topic not in topology.ACTION_TOPICS.get(event.data.suggested_action, ()):
            return ended  # who may write alerts may not ask for a retrain by one
        return decide(state, event, config, wall_ms) is not None or ended
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        asks = topic != topology.CONTROL_MODELS
        refused = asks and refuse(state, topic, offset, value, str(error), wall_ms)
        raise Undecodable(f"not a message of {topic}: {error}", refused=refused) from None


class _Data(msgspec.Struct):
    pipeline: str | None = None


class _Named(msgspec.Struct):
    pipeline: str | None = None
    data: _Data | None = None


_name_in = msgspec.json.Decoder(_Named).decode


def concerned(names: Sequence[str], value: bytes | None) -> Sequence[str]:
    """Those of these names, a pipeline's own or its shards', that a control record may be about."""
    if len(names) == 1 or value is None:
        return names
    try:
        found = _name_in(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return names
    named = found.data.pipeline if found.data is not None else found.pipeline
    if named is None or named == topology.whole(names[0]):
        return names
    return [named] if named in names else []


def addressed(asked: OperatorRequest, name: str) -> OperatorRequest | None:
    """The request as the pipeline, or the shard, of this name has it; None where it is another's."""
    if asked.pipeline == name:
        return asked
    if asked.pipeline != topology.whole(name):
        return None
    return msgspec.structs.replace(asked, id=f"{asked.id}.{topology.shard_of(name)}", pipeline=name)


def take_due(state: PolicyState, prefix: str, wall_ms: int, resend_ms: int = RESEND_MS) -> list[Out]:
    """The records to append now: commands to the samples log, then decisions to the audit."""
    ready = due(state, wall_ms, resend_ms)
    for request in ready.given_up:
        logger.warning(
            "%s: learn did not answer the command of request %s; it stays in the samples log",
            state.pipeline,
            request,
        )
    key = state.pipeline.encode()
    samples = topology.samples(state.pipeline, prefix)
    shard = topology.shard_of(state.pipeline)
    outs = [Out(samples, key, encode_entry(command), (), shard) for command in ready.commands]
    outs += [
        Out(prefix + topology.CONTROL_DECISIONS, key, encode_json(decision)) for decision in ready.decisions
    ]
    return outs


def taken(state: PolicyState, record: Record, prefix: str, config: PolicyConfig, wall_ms: int) -> Taken:
    """Take a record of a control topic; one that cannot be used is logged."""
    try:
        topic = record.topic.removeprefix(prefix)
        return Taken(control_step(state, topic, record.value, config, wall_ms, record.offset), readable=True)
    except Undecodable as error:
        place = (record.topic, record.partition, record.offset)
        logger.warning("%s/%d at %d is not used: %s", *place, printable(str(error)))
        return Taken(error.refused, readable=False)


class ControlWorker:
    """The control role on any `Log`, its state in memory, reading every control topic from its start. `turn` runs it once."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        wall_ms: Callable[[], int],
        *,
        prefix: str = "",
        resend_ms: int = RESEND_MS,
    ) -> None:
        self.log, self.wall_ms, self.prefix, self.resend_ms = log, wall_ms, prefix, resend_ms
        self.config = PolicyConfig.of(pipeline)
        self.states = {name: PolicyState(name) for name in names_of(pipeline)}
        self.undecodable = 0
        self.unsent: list[Out] = []
        tps: list[TP] = [
            (prefix + topic, partition)
            for topic in READ_TOPICS
            for partition in range(log.partitions(prefix + topic))
        ]
        self.reader = log.reader({tp: bounds[0] for tp, bounds in log.bounds(tps).items()})

    @property
    def state(self) -> PolicyState:
        """What is remembered of the pipeline, or of its first shard."""
        return next(iter(self.states.values()))

    def process_batch(self, timeout_s: float) -> int:
        """Poll once, decide and send; how many control records were read.

        Raises whatever `Log.append` raises; what was to be sent is then sent by the next turn.
        """
        records = self.reader.poll(BATCH_RECORDS, timeout_s)
        for record in records:
            for name in concerned(tuple(self.states), record.value):
                found = taken(self.states[name], record, self.prefix, self.config, self.wall_ms())
                if not found.readable:  # by none of the shards
                    self.undecodable += 1
                    break
        for state in self.states.values():
            self.unsent += take_due(state, self.prefix, self.wall_ms(), self.resend_ms)
        if self.unsent:
            self.log.append(self.unsent)
            self.unsent = []
        return len(records)

    def close(self) -> None:
        """Release the reader."""
        self.reader.close()
