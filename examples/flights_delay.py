"""How many minutes late will this flight land? The regression of `examples.flights`: the same events, views and inputs.

The delay's tail is heavy: a flight may land twenty hours late. So the loss is Huber's: an error of more than 15 minutes pulls no
harder than one of 15, and no single flight throws the weights off. (With river's defaults this very model diverges.)
"""

from river import linear_model, optim, preprocessing

from penstock import Label, Pipeline
from penstock.examples import flights


def minutes_late(event):
    """The delay at the gate, in minutes; negative for a flight that lands early."""
    return event["delay"]


pipeline = Pipeline(
    "flights-delay",
    views=flights.pipeline.views,
    predict=flights.departures,
    inputs=flights.pipeline.inputs,
    label=Label(flights.arrivals, minutes_late, wait="36h", fields=("delay",)),
    model=preprocessing.StandardScaler()
    | linear_model.LinearRegression(
        optimizer=optim.SGD(0.005), loss=optim.losses.Huber(15.0), intercept_lr=0.005
    ),
)
