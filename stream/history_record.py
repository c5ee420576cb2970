"""What the history topic holds, in JSON: how a pipeline did, by blocks of labels and by hours of event time.

Laws of this file:
- A new field always has a default, so that an old record still decodes; a field is never renamed or reused.
- A record is a function of the samples log: the same log gives the same bytes. The same `id` is the same record.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from penstock.stream.task_kind import Kind

# What MessagePack and other languages can hold.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

HISTORY_DIGITS = 6
"""Losses, weights and figures are rounded to so many places: a millionth of a nat is noise, and every digit is a byte."""


class Counted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of samples and labels since the record of its kind before; what is 0 is left out.

    `joined` samples met their label, and `learned` of them taught; `held_back` taught nothing, because of a hold. `expired` ones
    waited in vain; `absent` ones took the label of those without one, of which `corrected` ones then got another. `unmatched`
    labels found no sample that waited. `repeats` and `unreadable` records were passed over.
    """

    samples: Int64 = 0
    labels: Int64 = 0
    joined: Int64 = 0
    learned: Int64 = 0
    held_back: Int64 = 0
    expired: Int64 = 0
    absent: Int64 = 0
    corrected: Int64 = 0
    unmatched: Int64 = 0
    repeats: Int64 = 0
    unreadable: Int64 = 0


class ExpertThen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One of the models that made the live prediction: its part of the weight at the record, and how it did since the last one.

    `version` and `kind` are as in `LiveModel`: `base` is the base rate; `first` the passive twin, the definition's model as
    nobody touched it. `loss` is the mean over the `judged` labels since the record of this kind before, or since its birth. It is
    clipped as the weights are charged, and is what all together lost where it said nothing.
    """

    version: str
    kind: str
    weight: float
    judged: Int64 = 0
    loss: float | None = None


class EpisodeThen(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An episode that was open at the record. `id` is the `episode` of its control events.

    `kind` and `subject` are those of what caused it, or of what was found first; `since` is its onset (event time, ms) and
    `since_position` the samples-log offset of that.
    """

    id: str
    kind: str
    subject: str
    since: Int64
    since_position: Int64


class HistoryRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How a pipeline did over one block of labels, or over one hour of event time.

    `kind` says which. `position` is the samples-log offset of the record at which it was made, `at` the event time reached (of an
    hour, its end). `since_position` and `since` say the same of where it begins; hours in which nothing came have no record.

    `loss` and `base_loss` are the means, over its `counts.joined` labels, of what the published predictions and the base
    predictor lost: log loss of what was given to the label that came, in nats. Of a regression it is that of a Student t density
    around the number, and `means` has the mean absolute errors. `mixture_loss` is that of all models together over the `judged`
    labels by which they were weighed, none while learning is held; it differs from `loss` where one model predicts alone.
    `means` has the task's other figures by name: `auc` (of a block's newest 2,000 labels), `mae`, `base_mae`, `accuracy`,
    `base_accuracy`, `alert_share`. A figure that nothing can be said of is left out.

    `pending` samples wait for a label now. `experts` are those there are at its end; `leader` and `committed` are versions among
    them, and `live` is the version that predictions carry. `held` says that learning is held.
    """

    id: str
    pipeline: str
    kind: Literal["labels", "hour"]
    task: Kind
    position: Int64
    at: Int64
    since_position: Int64
    since: Int64
    recipe: str
    live: str
    leader: str
    committed: str
    counts: Counted
    pending: Int64 = 0
    judged: Int64 = 0
    loss: float | None = None
    base_loss: float | None = None
    mixture_loss: float | None = None
    means: dict[str, float] = {}
    experts: list[ExpertThen] = []
    episodes: list[EpisodeThen] = []
    held: bool = False


decode_history = msgspec.json.Decoder(HistoryRecord).decode
