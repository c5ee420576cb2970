"""Binary, keyed across, with nearly all that a definition may ask for beside it."""

from river import linear_model, preprocessing, tree

from penstock import View, count, last, mean, since_last
from penstock.stream import Label, Pipeline, Source
from penstock.stream.detectors import Adwin
from penstock.stream.triggers import OnLabels, OnSchedule

sent = Source("parcels.sent", id="parcel", time="sent_at", key="van")
delivered = Source("parcels.delivered", id="parcel", time="done_at", key="van")
pipeline = Pipeline(
    "parcels",
    views=[
        View("depot", delivered, key="depot", features=dict(late_3h=mean("late", "3h"), done_1h=count("1h"))),
        View(
            "street",
            delivered,
            key=("depot", "street"),
            features=dict(late=last("late"), idle=since_last()),
        ),
        View("traffic", sent, key="depot", features=dict(sent_1h=count("1h"), idle=since_last())),
    ],
    predict=sent,
    inputs=["weight"],
    label=Label(delivered, lambda e: e["late"] > 15, wait="6h", fields=("late",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    challengers={"tree": tree.HoeffdingTreeClassifier(grace_period=20)},
    interval=0.9,
    calibrate=True,
    segments=["depot"],
    monitors=[Adwin("loss")],
    retrain=[OnLabels(30), OnSchedule("1d")],
)
