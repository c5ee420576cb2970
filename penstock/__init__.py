"""All that a definition file needs: ``from penstock import Pipeline, Source, View, Label, count, mean``.

`stream`, `features` and `monitors` are the folders beside this one, linked here so that they are installed as parts of this one
package: a project that has a `features` folder of its own is never mistaken for ours.

A name is imported when it is first asked for: `penstock --help` does not wait for the models' library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import what is asked for. Only `what_if`, which notebooks call, brings the clients of Kafka and Redis."""
        if name not in __all__:
            raise AttributeError(f"module 'penstock' has no attribute {name!r}")
        of_stream = importlib.import_module("penstock.stream").__all__
        home = "penstock.stream" if name in of_stream else "penstock.features"
        if name == "what_if":
            home = "penstock.stream.roles.what_if"
        found = globals()[name] = getattr(importlib.import_module(home), name)
        return found

    def __dir__() -> list[str]:
        """What can be asked for, for those who look."""
        return sorted({*globals(), *__all__})
