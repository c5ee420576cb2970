"""Will this flight land more than 15 minutes late? Asked as the aircraft leaves, answered when it has landed.

The events are those of `examples.flights_data`. Every view is inside one task, because the views are keyed by
four different entities while the topics are keyed by one (the aircraft).
"""

from river import linear_model, preprocessing

from penstock import Label, Pipeline, Source, View, count, last, mean, since_last

departures = Source("flights.departures", id="flight_id", time="departs_at", key="tail")
arrivals = Source("flights.arrivals", id="flight_id", time="landed_at", key="tail")


def late(event):
    """What counts as late: more than a quarter of an hour at the gate."""
    return event["delay"] > 15


pipeline = Pipeline(
    "flights",
    views=[
        View(
            "airport",
            arrivals,
            key="origin",
            features=dict(delay_1h=mean("delay", "1h"), delay_3h=mean("delay", "3h"), landed_1h=count("1h")),
        ),
        View(
            "carrier",
            arrivals,
            key="carrier",
            features=dict(delay_1h=mean("delay", "1h"), delay_3h=mean("delay", "3h")),
        ),
        View(
            "destination",
            arrivals,
            key="dest",
            features=dict(delay_3h=mean("delay", "3h"), landed_3h=count("3h")),
        ),
        View("aircraft", arrivals, key="tail", features=dict(delay=last("delay"), idle=since_last())),
        View("traffic", departures, key="origin", features=dict(leaving_1h=count("1h"))),
    ],
    predict=departures,
    inputs=["dep_delay", "hour", "distance"],
    label=Label(arrivals, late, wait="36h", fields=("delay",)),
    segments=["carrier", "origin"],
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
