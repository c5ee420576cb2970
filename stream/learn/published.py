"""What a fold's outputs are as messages for people and programs.

Laws of this file:
- A function of the fold: what is above an offset is written, what is below was written before.
"""

from __future__ import annotations

from typing import Any

from penstock.stream import topology
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.records import Predicted
from penstock.stream.learn.tasks.task import Task
from penstock.stream.learn.uncertainty import Uncertainty
from penstock.stream.log.protocol import Out
from penstock.stream.messages import encode_json
from penstock.stream.prediction import ModelRef, Prediction


def published(fold: Fold, below: int, predictions_topic: str, prefix: str) -> list[Out]:
    """Predictions, history, control events and which model is live, those that records from offset `below` on made."""
    key = fold.pipeline.name.encode()
    outs: list[Out] = []
    for made in fold.outputs.predictions:
        if made.position >= below:
            message = prediction_of(made, fold.task, fold.uncertainty, fold.recipe)
            outs.append(Out(predictions_topic, made.key.encode(), encode_json(message), (), 0))
    history = topology.history(fold.pipeline.name, prefix)
    outs += [
        Out(history, key, encode_json(one), (), 0) for one in fold.outputs.history if one.position >= below
    ]
    for topic, event in fold.drift.requests:
        if event.data.detected_at["position"] >= below:
            outs.append(Out(prefix + topic, key, encode_json(event), topology.EVENT_HEADERS))
    for live in fold.outputs.live:
        if live.position >= below:
            outs.append(Out(prefix + topology.CONTROL_MODELS, key, encode_json(live)))
    return outs


def prediction_of(made: Predicted, task: Task, uncertainty: Uncertainty | None, recipe: str) -> Prediction:
    """One prediction as it is published, and as it is answered on request."""
    value, *more = task.shown(made.p)
    sure: dict[str, Any] = {}
    if uncertainty is not None and made.issued is not None:
        sure = uncertainty.shown(made.p, made.issued)
    by = ModelRef(made.version, made.weight)
    return Prediction(made.id, made.at, value, by, recipe, made.position, *more, **sure)
