"""Every message Penstock writes or reads, as frozen typed structs, and their wire form.

Laws of this file:
- The samples log is MessagePack, a tagged union (`Recipe | Sample | LabelRecord | Tick | Command`); user-facing topics are JSON.
- A new field always has a default, so that an old record still decodes; a field is never renamed or reused.
- What others may write to the control topics has limits that hold when it is decoded: it is kept, sent on and shown.
- Times are milliseconds since the epoch. `at` is event time, `wall_ms` is a worker's clock; the fold decides by the first only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from penstock.stream.look import Look
from penstock.stream.segment_blamed import SegmentBlamed
from penstock.stream.story_records import EpisodeSummary
from penstock.stream.targets import Target
from penstock.stream.trigger_records import TriggerFired, TriggerShown

MAX_NAME_CHARACTERS = 200
MAX_REASON_CHARACTERS = 1_000
# What MessagePack and other languages can hold.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARACTERS)]
Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON_CHARACTERS)]
Value = float | str | bool | None
Verb = Literal["hold", "resume", "rollback", "retrain", "promote", "adopt", "accept"]


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Where a sample or a label came from: readers drop what is not above the last seen, per (topic id, partition).

    `sub` tells apart the outputs of one event: 0 the sample, 1 the label.
    """

    topic_id: str
    partition: int
    offset: int
    sub: int = 0


class Recipe(msgspec.Struct, frozen=True, array_like=True, tag="recipe"):
    """Opens a lineage: samples after it carry vectors in the order of `inputs`, as `source` defines them."""

    digest: str
    inputs: list[str]
    source: str
    at: int = 0


class Sample(msgspec.Struct, frozen=True, array_like=True, tag="sample", gc=False):
    """One event to predict: the vector `x` as computed at event time, in the order of `recipe`. None is missing.

    `recipe` is the digest of the definition that computed it, so that a sample which a worker of a former definition appends late
    is never read under newer names; it is empty in samples written before there was the field. `label_key` names the entity whose
    later events label the sample, where the definition joins labels by key; None where it joins them by id, or the key is null.
    `segments` are the values of the definition's segment fields that are no inputs, in its order; None where there are none.
    """

    origin: Origin
    id: str
    key: str
    at: int
    x: list[Value]
    recipe: str = ""
    label_key: str | None = None
    segments: list[Value] | None = None


class LabelRecord(msgspec.Struct, frozen=True, array_like=True, tag="label", gc=False):
    """The outcome of the sample with the same `id`; it may come before it.

    With a `key` it is an outcome of the entity of this name, at event time `at`: it labels the samples with this `label_key` that
    the definition's span of time names. `y` is true or false, a class's name or whole number, or a number.
    """

    origin: Origin
    id: str
    at: int
    y: Target
    key: str | None = None


class Tick(msgspec.Struct, frozen=True, array_like=True, tag="tick"):
    """Time and silence made visible: the event time that source partitions ("topic/0") have reached in this log.

    -1 is one of which nothing was read yet; `idle` names those that bring nothing at present. `of` is how many source partitions
    the pipeline has in all (0: not said). One with a `look` says only what a record's undeclared fields are, and nothing of time.
    """

    times: dict[str, int]
    idle: list[str]
    wall_ms: int
    of: int = 0
    look: Look | None = None


class CommandFields(msgspec.Struct, frozen=True):
    """What a command says, wherever it stands.

    `from_position` is the samples-log offset a retrain replays from (or a rollback's onset); `version` the one to restore or to
    adopt; `digest`, `trained_to` and `join_from` (the oldest record that the model still waits for the other half of) belong to
    `adopt`; `episode` is the one it answers, None when a person asked. `pin` keeps the version that a rollback or a promotion
    names, whatever labels say. A rollback or a promotion with a `digest` means the stored version that has it. `window` says what
    a retrain without `from_position` learns from (`stream.triggers`; empty: all), `trigger` what set it off: demand, schedule,
    labels, performance or inputs (empty: not said). `challenger` names the one of the definition's that an `adopt` brings.
    """

    id: str
    verb: Verb
    reason: str = ""
    by: str = ""
    version: str | None = None
    from_position: int | None = None
    trained_to: int | None = None
    digest: str | None = None
    episode: str | None = None
    wall_ms: int = 0
    join_from: int | None = None
    pin: bool = False
    window: str = ""
    trigger: str = ""
    challenger: Name = ""


class Command(CommandFields, frozen=True, array_like=True, tag="command"):
    """The only way anything outside the fold changes the model. Read once per `id`, wherever it is repeated."""


class CommandSent(CommandFields, frozen=True):
    """A `Command` as `control.decisions` shows it: the same fields, by name, for readers in any language."""

    def entry(self) -> Command:
        """The samples log's record of it."""
        return Command(**msgspec.structs.asdict(self))


Entry = Recipe | Sample | LabelRecord | Tick | Command

encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(Entry).decode


class ControlData(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator reads at night: what changed, since when, how badly, what will happen, and the command that does it.

    `since` and `detected_at` hold event time (ms) and the samples-log position; of `dead-letters` the record's own Kafka time,
    partition and offset. `effect` is in the unit of the statistic's mean (nats for losses, PSI for inputs, a share for guards
    and dead letters). `state` is `suspected`, `firing`, `resolved`, `withdrawn` for a suspicion that nothing came of, or `over`
    with the episode's `summary`. `cooldown_until` is the event time (ms) up to which the return of what is resolved is the same
    episode. `trigger` set a retrain off. `causes` are the episode's so far, `at_stake` what the live prediction loses, in nats
    `per_label` and `per_day`. `segment` carries the damage (None: none does).
    """

    pipeline: str
    episode: Name
    kind: str
    state: str
    severity: Literal["info", "warning", "critical"]
    reason: str
    detector: dict[str, Any]
    since: dict[str, Int64 | None]
    detected_at: dict[str, Int64]
    suggested_action: str
    statistic: float | None = None
    threshold: float | None = None
    effect: float | None = None
    top_features: list[tuple[str, float, float]] = []
    model: dict[str, str | None] = {}
    losses: dict[str, float | None] = {}
    target_version: Name | None = None
    cooldown_until: int | None = None
    command: str = ""
    trigger: TriggerFired | None = None
    segment: SegmentBlamed | None = None
    causes: list[str] = []
    at_stake: dict[str, float | None] = {}
    summary: EpisodeSummary | None = None


class ControlEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvents 1.0 envelope in structured JSON. The same `source` and `id` are the same event."""

    id: Id
    source: str
    type: str
    subject: str
    time: str
    data: ControlData
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


class OperatorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `penstock retrain|rollback|hold|resume|promote` writes to `control.commands`.

    `version` is an id, or the alias `champion` or `previous`; with the `digest` of a stored version, that one as it is stored.
    `id`, `by` and `version` take at most `MAX_NAME_CHARACTERS`, `reason` at most `MAX_REASON_CHARACTERS`; `id` is not empty.
    `window` says what a retrain learns from: `all`, `since-onset` or a length such as `30d` (empty: as the definition says).
    `source` says where it was asked: `cli` or `console` (empty: not said).
    """

    id: Id
    pipeline: str
    verb: Verb
    reason: Reason
    by: Name
    version: Name | None = None
    from_position: Int64 | None = None
    wall_ms: Int64 = 0
    pin: bool = False
    digest: Name | None = None
    window: Name = ""
    source: Name = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The audit of one request on `control.decisions`: what was decided and why. `command` is null when it was refused."""

    id: str
    pipeline: str
    request: str
    verb: str
    verdict: Literal["accepted", "refused", "waits for approval"]
    why: str
    by: str
    command: CommandSent | None
    wall_ms: int


class ExpertShown(msgspec.Struct, frozen=True, kw_only=True):
    """One of the models that make the live prediction: what it is, its part of the weight, when it was born, how it does.

    `kind` is base, first, new, frozen, resumed, retrained, challenger or careful; `born_at` is event time (ms), `born_position` a
    samples-log offset. `learned` counts labels. `loss` and `live_loss` are means over the `judged` labels since its birth: its
    own log loss (clipped as the weights are charged; what the others lost where it said nothing) and that of the live prediction.
    """

    version: str
    kind: str
    weight: float
    born_at: Int64 = 0
    born_position: Int64 = 0
    parent: str | None = None
    learned: Int64 = 0
    judged: Int64 = 0
    loss: float | None = None
    live_loss: float | None = None


class LiveModel(msgspec.Struct, frozen=True, kw_only=True):
    """The compacted truth about a pipeline on `control.models`; only learn writes it.

    `version` is the expert that leads, with its `weight`; `committed` the one that budgeted evidence, or a person, last put in
    place, and `previous` the one committed before it (empty: none). The committed one predicts `alone` while `pinned`, and
    always where the definition asks for approval: then `version` is the committed one, whoever has more weight. `experts` are
    all there are. `why` says why this version is live, `change` what happened when this message was written. `anchor`,
    `anchors` and `candidate` are no longer filled. `applied` lists the newest command ids carried out; `refused` those the fold
    refused, each with the reason. `triggers` are the definition's, as of this message; `retraining` names the commands whose
    retrain is under way.
    """

    pipeline: str
    version: str
    why: str
    at: Int64
    position: Int64
    recipe: str
    held: bool = False
    held_since: Int64 | None = None
    anchor: str | None = None
    candidate: str | None = None
    anchors: list[str] = []
    applied: list[str] = []
    refused: dict[str, str] = {}
    change: str = ""
    committed: str = ""
    weight: float = 1.0
    pinned: bool = False
    experts: list[ExpertShown] = []
    alone: bool = False
    previous: str = ""
    triggers: list[TriggerShown] = []
    retraining: list[str] = []


def rfc3339(at_ms: int) -> str:
    """A time in ms since the epoch as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat("T", "milliseconds").replace("+00:00", "Z")


encode_json = msgspec.json.Encoder().encode
decode_control_event = msgspec.json.Decoder(ControlEvent).decode
decode_operator_request = msgspec.json.Decoder(OperatorRequest).decode
decode_decision = msgspec.json.Decoder(Decision).decode
decode_live_model = msgspec.json.Decoder(LiveModel).decode
