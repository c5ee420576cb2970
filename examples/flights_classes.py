"""Will this flight land on time, late or very late? Several classes, from the events and views of `examples.flights`."""

from river import tree

from penstock import Label, Pipeline
from penstock.examples import flights


def how_late(event):
    """A quarter of an hour is still on time; more than an hour is very late."""
    return "on time" if event["delay"] <= 15 else "late" if event["delay"] <= 60 else "very late"


pipeline = Pipeline(
    "flights-classes",
    views=flights.pipeline.views,
    predict=flights.departures,
    inputs=flights.pipeline.inputs,
    label=Label(flights.arrivals, how_late, wait="36h", fields=("delay",)),
    model=tree.HoeffdingTreeClassifier(),
    task="multiclass",
)
