"""Online features per entity: what a definition file needs. The rest is imported from its own module."""

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
)
from penstock.features.define.kinds import hopping, session, sliding, tumbling
from penstock.features.define.view import View

# fmt: off
__all__ = [
    "View", "count", "decayed_count", "decayed_mean", "decayed_sum", "distinct", "first", "histogram", "hopping",
    "last", "last_n", "max", "mean", "min", "quantile", "rate", "ratio", "row", "session", "since_last", "sliding",
    "std", "sum", "top_k", "tumbling", "variance",
]
# fmt: on
