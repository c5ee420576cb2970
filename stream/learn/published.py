"""What a fold's outputs are as messages for people and programs.

Laws of this file:
- A function of the fold: what is above an offset is written, what is below was written before.
"""

from __future__ import annotations

from typing import Any

from penstock.stream import topology
from penstock.stream.learn.fold import Fold
from penstock.stream.log.protocol import Out
from penstock.stream.messages import encode_json
from penstock.stream.prediction import ModelRef, Prediction


def published(fold: Fold, below: int, predictions_topic: str, prefix: str) -> list[Out]:
    """Predictions, control events and which model is live, those that records from offset `below` on made."""
    key = fold.pipeline.name.encode()
    outs: list[Out] = []
    for made in fold.outputs.predictions:
        if made.position >= below:
            by = ModelRef(made.version, made.weight)
            value, *more = fold.task.shown(made.p)
            sure: dict[str, Any] = {}
            if fold.uncertainty is not None and made.issued is not None:
                sure = fold.uncertainty.shown(made.p, made.issued)
            message = Prediction(made.id, made.at, value, by, fold.recipe, made.position, *more, **sure)
            outs.append(Out(predictions_topic, made.key.encode(), encode_json(message), (), 0))
    for topic, event in fold.drift.requests:
        if event.data.detected_at["position"] >= below:
            outs.append(Out(prefix + topic, key, encode_json(event), topology.EVENT_HEADERS))
    for live in fold.outputs.live:
        if live.position >= below:
            outs.append(Out(prefix + topology.CONTROL_MODELS, key, encode_json(live)))
    return outs
