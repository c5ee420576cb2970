"""Several classes; a label comes by the key of whatever it is of, within a span of time."""

from river import linear_model, preprocessing

from penstock import View, count, mean
from penstock.stream import Label, Pipeline, Source


def how_late(event):
    """The class of a delivery."""
    return "late" if event["late"] > 15 else "early" if event["late"] < -15 else "on time"


sent = Source("classes.sent", id="parcel", time="sent_at", key="van")
delivered = Source("classes.delivered", id="parcel", time="done_at", key="van")
pipeline = Pipeline(
    "classes",
    views=[View("depot", delivered, key="depot", features=dict(late_3h=mean("late", "3h"), n=count("1h")))],
    predict=sent,
    inputs=["weight"],
    label=Label(delivered, how_late, key="van", within="3h", fields=("late",)),
    model=preprocessing.StandardScaler() | linear_model.SoftmaxRegression(),
    task="multiclass",
    interval=0.9,
)
