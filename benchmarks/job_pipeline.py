"""The whole reference job as a definition: the features of `features_job`, a scaled logistic regression, the rest by default."""

from __future__ import annotations

from typing import Any

from river import linear_model, preprocessing

from benchmarks.features_job import PAYMENTS, reference_view
from penstock import Label, Pipeline


def fraud(event: Any) -> bool:
    """Give the label, which the event itself carries."""
    return bool(event["fraud"])


pipeline = Pipeline(
    "bench",
    [reference_view()],
    PAYMENTS,
    Label(PAYMENTS, fraud, fields=("fraud",)),
    preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    inputs=["amount"],
)
