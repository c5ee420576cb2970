"""What the predictions topic holds, in JSON.

Laws of this file:
- A new field always has a default, so that an old record still decodes; a field is never renamed or reused.
"""

from __future__ import annotations

import msgspec


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


decode_prediction = msgspec.json.Decoder(Prediction).decode
