"""What the predictions topic holds, in JSON or in Avro.

Laws of this file:
- A new field always has a default, so that an old record still decodes; a field is never renamed or reused.
"""

from __future__ import annotations

import msgspec

from penstock.stream import prediction_avro


class ModelRef(msgspec.Struct, frozen=True):
    """Which model leads the prediction, and how much of it is its own: `weight` is 1 where it predicts alone."""

    version: str
    weight: float = 1.0


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One prediction. `id` is the event's own, so a repeat is recognisable.

    `prediction` is the probability of a true label; of several classes the most probable one, as text (null while no class is
    known), with the probability of each in `classes`; the number where a number is predicted; an anomaly's score where nothing is
    labelled, with `rank`, the share of recent scores that are lower, and `alert`, whether that is within the share that the
    definition wants to hear of.

    Where the definition asks for it, `calibrated` is the probability corrected by what came of earlier ones. `set` is the
    classes ("true", "false" or names), `interval` the two ends, that hold the label as often as was asked for; a null end is
    infinite.
    """

    id: str
    at: int
    prediction: float | str | None
    model: ModelRef
    recipe: str
    position: int = -1
    classes: dict[str, float] | None = None
    rank: float | None = None
    alert: bool | None = None
    calibrated: float | None = None
    set: list[str] | None = None
    interval: tuple[float | None, float | None] | None = None


_of_json = msgspec.json.Decoder(Prediction).decode
_AVRO = b"\0"  # the first byte before a schema's id, which no JSON begins with


def decode_prediction(value: bytes) -> Prediction:
    """A prediction in JSON or in Avro; raises `msgspec.DecodeError` or `UnicodeDecodeError` for other bytes."""
    if value[:1] == _AVRO:
        return msgspec.convert(prediction_avro.decoded(value), Prediction)
    return _of_json(value)


def mentions(value: bytes, event_id: str) -> bool:
    """Whether a prediction may be that of this event: cheap, and never wrong when it says no.

    >>> mentions(b'{"id":"p1"}', "p1"), mentions(b'{"id":"p12"}', "p1")
    (True, False)
    """
    return (event_id.encode() if value[:1] == _AVRO else msgspec.json.encode(event_id)) in value
