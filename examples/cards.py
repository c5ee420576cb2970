"""Is this card payment fraud? Each event carries its own answer, so the field that holds it may not be an input.

The events are those of `examples.cards_data`. Topic and view share one key, the card, so this pipeline scales
by partition.
"""

from river import linear_model, preprocessing

from penstock import Label, Pipeline, Source, View, count, mean, since_last

payments = Source("cards.payments", id="payment_id", time="paid_at", key="card")

pipeline = Pipeline(
    "cards",
    views=[
        View(
            "card",
            payments,
            key="card",
            features=dict(
                paid_10m=count("10m"), paid_1d=count("1d"), mean_7d=mean("amount", "7d"), idle=since_last()
            ),
        ),
    ],
    predict=payments,
    inputs=["amount", "hour", "online"],
    label=Label(payments, lambda event: event["fraud"], wait="1h", fields=("fraud",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
