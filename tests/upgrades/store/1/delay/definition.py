"""A regression with an interval, its model a tree, approved by a person."""

from river import tree

from penstock import View, count, last, mean
from penstock.stream import Label, Pipeline, Source

sent = Source("delay.sent", id="parcel", time="sent_at", key="van")
delivered = Source("delay.delivered", id="parcel", time="done_at", key="van")
pipeline = Pipeline(
    "delay",
    views=[
        View("depot", delivered, key="depot", features=dict(late_3h=mean("late", "3h"), done_1h=count("1h"))),
        View("van", sent, key="van", features=dict(weight=last("weight"))),
    ],
    predict=sent,
    inputs=["weight"],
    label=Label(delivered, "late", wait="6h"),
    model=tree.HoeffdingTreeRegressor(grace_period=20),
    interval=0.5,
    approval=True,
    guard="hold",
)
