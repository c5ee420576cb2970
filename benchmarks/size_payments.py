"""The reference job's features with a label and a model: what `benchmarks.size` holds `penstock size` against.

The 13 features and the one value of the row of `features_job`, a scaler and a LogisticRegression; a payment says itself
whether it was fraud.
"""

from river import linear_model, preprocessing

from benchmarks.features_job import PAYMENTS, reference_view
from penstock import Label, Pipeline


def fraud(event):
    """The payment's own answer."""
    return event["fraud"]


pipeline = Pipeline(
    "bench",
    [reference_view()],
    PAYMENTS,
    Label(PAYMENTS, fraud, wait="1h", fields=("fraud",)),
    preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    inputs=["amount"],
)
