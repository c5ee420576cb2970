"""Six changes of `examples/flights.py`, as a person would make them: what `benchmarks.plan` carries out, and tests plan."""

from __future__ import annotations

import inspect

from penstock.examples import flights

CHANGES: dict[str, dict[str, str]] = {
    "add": {
        'landed_1h=count("1h")),': 'landed_1h=count("1h"), worst_6h=max("delay", "6h")),',
        "count, last, mean": "count, last, max, mean",
    },
    "drop": {', landed_3h=count("3h")': ""},
    "window": {
        'key="carrier",\n            features=dict(delay_1h=mean("delay", "1h"), delay_3h=mean("delay", "3h"))': (
            'key="carrier",\n            features=dict(delay_1h=mean("delay", "1h"), delay_3h=mean("delay", "12h"))'
        )
    },
    "key": {'View("traffic", departures, key="origin"': 'View("traffic", departures, key="dest"'},
    "model": {
        "linear_model.LogisticRegression()": "tree.HoeffdingTreeClassifier()",
        "linear_model, preprocessing": "preprocessing, tree",
    },
    "label": {'event["delay"] > 15': 'event["delay"] > 30'},
}
"""By name, what is replaced by what."""
FIT = {
    'features=dict(delay=last("delay"), idle=since_last())': (
        'features=dict(delay=last("delay"), idle=since_last(), worst_1d=max("delay", "1d"))'
    ),
    "count, last, mean": "count, last, max, mean",
}
"""One more, of a view with thousands of entities: what `stream/plan/constants.py` was fitted to."""


def definition() -> str:
    """The flights' definition as it is."""
    return inspect.getsource(flights)


def changed(name: str) -> str:
    """The flights' definition with one of the changes, or with `fit`."""
    text = definition()
    for before, after in {**CHANGES, "fit": FIT}[name].items():
        if before not in text:
            raise ValueError(f"the flights' definition has no {before!r} any more: mend the change {name!r}")
        text = text.replace(before, after)
    return text
