"""How many minutes late will this flight land? The regression of `examples.flights`: the same events, views and inputs.

The delay's tail is heavy: half of all flights land within a quarter of an hour of their time, one in a hundred more than three
hours late. So the loss is Huber's, whose gradient stays bounded, on a target that is scaled as it comes.
"""

from river import linear_model, preprocessing

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
    model=preprocessing.StandardScaler() | linear_model.LinearRegression(),
)
