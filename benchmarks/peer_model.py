"""The learning half of the whole job, written by hand as a user of another engine writes it: predict, learn, watch the loss.

Only river is imported: every engine's own environment can load it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from river import drift, linear_model, preprocessing

CLIP = 1e-4


class Learner:
    """A scaled logistic regression over the amount and the 13 features of state, and ADWIN over its log losses."""

    def __init__(self) -> None:
        self.model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
        self.loss = drift.ADWIN()
        self.drifts = 0

    def step(self, values: Mapping[str, float | None], event: Mapping[str, Any]) -> dict[str, Any]:
        """Predict an event, then learn its label; what goes onto the topic of predictions."""
        x = {name: 0.0 if value is None else value for name, value in values.items()}
        x["amount"] = event["amount"]
        p = self.model.predict_proba_one(x).get(True, 0.5)
        y = event["fraud"]
        self.model.learn_one(x, y)
        self.loss.update(-math.log(min(max(p if y else 1.0 - p, CLIP), 1.0)))
        self.drifts += self.loss.drift_detected
        return {"id": event["id"], "p": p, "at": event["at"]}
