"""A definition that is about to be changed, see `moved_to.py`."""

from river import linear_model, preprocessing

from penstock import View, count, mean
from penstock.stream import Label, Pipeline, Source

paid = Source("moved.paid", id="payment", time="paid_at", key="card")
pipeline = Pipeline(
    "moved",
    views=[View("card", paid, key="card", features=dict(paid_1h=count("1h"), mean_1d=mean("amount", "1d")))],
    predict=paid,
    inputs=["amount"],
    label=Label(paid, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
