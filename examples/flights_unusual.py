"""How unusual is this departure? Without any label: the same events, views and inputs as `examples.flights`.

Half-space trees want values between 0 and 1, so these are scaled by the smallest and largest seen. One event in two hundred is an
alert: whoever reads the predictions looks at those.
"""

from river import anomaly, preprocessing

from penstock import Pipeline
from penstock.examples import flights

pipeline = Pipeline(
    "flights-unusual",
    views=flights.pipeline.views,
    predict=flights.departures,
    inputs=flights.pipeline.inputs,
    label=None,
    model=preprocessing.MinMaxScaler()
    | anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=1),
    alert_share=0.005,
)
