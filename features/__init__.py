"""Online features per entity: what a definition file needs. The rest is imported from its own module."""

from features.declare import (
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
)
from features.definitions import View
from features.kinds import hopping, session, sliding, tumbling

# fmt: off
__all__ = [
    "View", "count", "decayed_count", "decayed_mean", "decayed_sum", "distinct", "first", "histogram", "hopping",
    "last", "last_n", "max", "mean", "min", "quantile", "rate", "ratio", "row", "session", "since_last", "sliding",
    "std", "sum", "top_k", "tumbling", "variance",
]
# fmt: on
