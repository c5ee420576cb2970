"""A view with every kind of feature over every kind of window, by partition, and a model without labels."""

from river import anomaly, preprocessing

from penstock import View
from penstock.features.define.declare import (
    count,
    decayed_count,
    decayed_mean,
    decayed_sum,
    distinct,
    first,
    histogram,
    last,
    last_n,
    max,
    mean,
    min,
    quantile,
    rate,
    ratio,
    row,
    since_last,
    std,
    sum,
    top_k,
    variance,
)  # fmt: skip
from penstock.features.define.kinds import hopping, session, sliding, tumbling
from penstock.stream import Pipeline, Source

paid = Source("kinds.paid", id="payment", time="paid_at", key="card")
WINDOWS = dict(
    ever=None, tiled="3h", sliding=sliding("2h", "10m"), hopping=hopping("4h", "1h"), tumbling=tumbling("1d"),
    session=session("30m"),
)  # fmt: skip
OF_ALL = {
    f"{name}_{window}": kind
    for window, over in WINDOWS.items()
    for name, kind in dict(
        count=count(over), sum=sum("amount", over), mean=mean("amount", over), variance=variance("amount", over),
        std=std("amount", over), min=min("amount", over), max=max("amount", over), first=first("amount", over),
        last=last("amount", over), last_n=last_n("amount", 3, over), distinct=distinct("shop", over),
        quantile=quantile("amount", 0.9, over), top_k=top_k("shop", 3, over), histogram=histogram("amount", [5, 20, 50], over),
        where=count(over, where="amount > 20"), share=ratio(count(over, where="amount > 20"), count(over)),
    ).items()
}  # fmt: skip
pipeline = Pipeline(
    "kinds",
    views=[
        View("every", paid, key="card", features=OF_ALL, ttl="40d"),
        View(
            "ever",
            paid,
            key="card",
            features=dict(
                rate=rate("1h"),
                decayed_count=decayed_count("6h"),
                decayed_sum=decayed_sum("amount", "6h"),
                decayed_mean=decayed_mean("amount", "6h"),
                idle=since_last(),
                row=row("amount / 2"),
                text=last("shop", holds="text"),
            ),
        ),
    ],
    predict=paid,
    inputs=["amount"],
    label=None,
    model=preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(n_trees=3, height=3, window_size=20, seed=1),
)
