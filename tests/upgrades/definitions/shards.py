"""The first of them in shards."""

from river import linear_model, preprocessing

from penstock import View, mean, since_last
from penstock.stream import Label, Pipeline, Source

sent = Source("shards.sent", id="parcel", time="sent_at", key="van")
delivered = Source("shards.delivered", id="parcel", time="done_at", key="van")
pipeline = Pipeline(
    "shards",
    views=[
        View("depot", delivered, key="depot", features=dict(late_3h=mean("late", "3h"))),
        View("traffic", sent, key="depot", features=dict(idle=since_last())),
    ],
    predict=sent,
    inputs=["weight"],
    label=Label(delivered, lambda e: e["late"] > 15, wait="6h", fields=("late",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    shard_by="depot",
    shards=2,
)
