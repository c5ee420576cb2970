"""All that a definition file needs: ``from penstock import Pipeline, Source, View, Label, count, mean``.

`stream`, `features` and `monitors` are the folders beside this one, linked here so that they are installed as parts of this one
package: a project that has a `features` folder of its own is never mistaken for ours.
"""

from typing import TYPE_CHECKING, Any

from penstock.features import (
    View,
    count,
    decayed_count,
    decayed_mean,
    decayed_sum,
    distinct,
    first,
    histogram,
    hopping,
    last,
    last_n,
    max,
    mean,
    min,
    quantile,
    rate,
    ratio,
    row,
    session,
    since_last,
    sliding,
    std,
    sum,
    top_k,
    tumbling,
    variance,
)
from penstock.stream import (
    Adwin,
    Detector,
    Kswin,
    Label,
    OnInputs,
    OnLabels,
    OnPerformance,
    OnSchedule,
    PageHinkley,
    Pipeline,
    Quality,
    RateRise,
    Serving,
    Source,
    grid,
)

if TYPE_CHECKING:
    from penstock.stream.roles.what_if import what_if

# fmt: off
__all__ = [
    "Label", "OnInputs", "OnLabels", "OnPerformance", "OnSchedule", "Pipeline", "Quality", "Serving", "Source", "View",
    "grid",
    "Adwin", "Detector", "Kswin", "PageHinkley", "RateRise",
    "count", "decayed_count", "decayed_mean", "decayed_sum", "distinct", "first", "histogram", "hopping", "last",
    "last_n", "max", "mean", "min", "quantile", "rate", "ratio", "row", "session", "since_last", "sliding", "std", "sum",
    "top_k", "tumbling", "variance", "what_if",
]
# fmt: on


def __getattr__(name: str) -> Any:
    """`what_if`, which notebooks call, brings the clients of Kafka and Redis: a definition file does not wait for them."""
    if name != "what_if":
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    from penstock.stream.roles.what_if import what_if

    return what_if
