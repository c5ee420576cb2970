"""What was converted, as the text of a Penstock definition.

Laws of this file:
- What stands in the definition was tried: each feature was made by Penstock's own words, each name is one that it takes.
- What was not converted stands in it as a comment, with the reason; nothing is left out in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import NamedTuple

from penstock.features.define import declare, kinds
from penstock.features.define.durations import UNITS_MS
from penstock.features.define.kinds import Feature

WORDS = {
    **{name: getattr(declare, name) for name in (
        "count", "sum", "mean", "variance", "std", "min", "max", "first", "last", "last_n", "distinct", "quantile", "top_k",
    )},
    **{name: getattr(kinds, name) for name in ("sliding", "hopping", "tumbling")},
}  # fmt: skip
LONGEST_TTL_MS = 30 * UNITS_MS["d"]
"""What a view's ttl is where it does not say so."""


class Topic(NamedTuple):
    """A source: its topic, its fields for id and time, and the key of its records."""

    name: str
    id: str
    time: str
    key: tuple[str, ...]


@dataclass
class MadeView:
    """A view: the name of its topic, its key, and its features as they are written."""

    name: str
    topic: str
    key: tuple[str, ...]
    features: dict[str, str] = field(default_factory=dict)
    ttl_ms: int = 0


@dataclass
class Converted:
    """All of a repository. `left` says of each thing that was not converted why; `notes` what differs where something was."""

    store: str
    topics: dict[str, Topic] = field(default_factory=dict)
    views: dict[str, MadeView] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    predict: Topic | None = None

    def note(self, said: str) -> None:
        """Say once what differs."""
        self.notes[said] = None

    def add(self, view: MadeView, name: str, call: str, what: str) -> None:
        """A feature of a view, unless Penstock refuses it; then it is left, with the refusal."""
        named = identifier(name)
        try:
            made = eval(call, {"__builtins__": {}}, dict(WORDS))
        except ValueError as error:
            self.left[what] = str(error)
            return
        assert isinstance(made, Feature), call
        if named in view.features:
            self.left[what] = f"the view has a feature {named} already"
            return
        view.features[named] = call
        view.ttl_ms = max(view.ttl_ms, made.window_ms or 0)


def identifier(text: str) -> str:
    """The nearest text that Penstock takes as the name of a view or feature.

    >>> identifier("quickstart/returns.v1"), identifier("7_day")
    ('quickstart_returns_v1', 'f_7_day')
    """
    found = re.sub(r"[^A-Za-z0-9_-]", "_", text).strip("_") or "f"
    return found if found[0].isalpha() else f"f_{found}"


def topic_name(text: str) -> str:
    """The nearest text that is the name of a topic.

    >>> topic_name("s3://lake/driver stats.parquet")
    's3-lake-driver-stats.parquet'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:249] or "events"


def duration(ms: int) -> str:
    """Milliseconds as Penstock writes a duration.

    >>> duration(7_200_000), duration(90_000)
    ('2h', '90s')
    """
    unit = next(name for name, size in reversed(UNITS_MS.items()) if ms % size == 0)
    return f"{ms // UNITS_MS[unit]}{unit}"


def definition(name: str, found: Converted) -> str:
    """The definition's text. There must be a view."""
    predict = found.predict or _requests(name, found)
    variables = {topic: _variable(topic, "_source") for topic in (*found.topics, predict.name)}
    words = sorted(
        {
            word
            for v in found.views.values()
            for call in v.features.values()
            for word in re.findall(r"(\w+)\(", call)
        }
    )
    lines = [
        f'"""Features that were defined for {found.store}. {_counted(found)}',
        "",
        "Their names are the former ones. What is predicted, from which inputs and by which model, is yours to say below.",
        '"""',
        "",
        "from river import anomaly, preprocessing",
        "",
        f"from penstock import Pipeline, Source, View, {', '.join(words)}",
        "",
    ]
    for topic in {**found.topics, predict.name: predict}.values():
        key = repr(topic.key[0]) if len(topic.key) == 1 else repr(topic.key)
        lines.append(
            f"{variables[topic.name]} = Source({topic.name!r}, id={topic.id!r}, time={topic.time!r}, key={key})"
        )
    lines += ["", "pipeline = Pipeline(", f"    {identifier(name)!r},", "    views=["]
    for view in found.views.values():
        lines += _view(view, variables[view.topic])
    lines += [
        "    ],",
        f"    predict={variables[predict.name]},  # one prediction for each of its events",
        "    label=None,  # or Label(...): what the model learns from",
        "    model=preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=1),  # or any other of river's",
        ")",
        *_comments("Not converted:", [f"{what}: {why}" for what, why in found.left.items()]),
        *_comments("Differs:", list(found.notes)),
    ]
    return "\n".join(lines) + "\n"


def _counted(found: Converted) -> str:
    many = sum(len(view.features) for view in found.views.values())
    left = f", {len(found.left)} things were not (see the end)" if found.left else ""
    return f"{many} features of {len(found.views)} views were converted{left}."


def _requests(name: str, found: Converted) -> Topic:
    """A topic of what is to be predicted, where the store does not know one."""
    first = next(iter(found.views.values()))
    return Topic(topic_name(f"{name}.requests"), "request_id", "requested_at", first.key)


def _view(view: MadeView, source: str) -> list[str]:
    key = repr(view.key[0]) if len(view.key) == 1 else repr(view.key)
    ttl = f", ttl={duration(view.ttl_ms)!r}" if view.ttl_ms > LONGEST_TTL_MS else ""
    features = [f"                {name!r}: {call}," for name, call in view.features.items()]
    return [
        "        View(",
        f"            {view.name!r}, {source}, key={key}{ttl},",
        "            features={",
        *features,
        "            },",
        "        ),",
    ]


def _comments(head: str, said: list[str]) -> list[str]:
    return ["", f"# {head}", *(f"# - {' '.join(one.split())}" for one in said)] if said else []


def _variable(topic: str, end: str) -> str:
    found = re.sub(r"\W", "_", topic).strip("_").lower() or "topic"
    found = found if not found[0].isdigit() else f"t_{found}"
    return (
        found + end
        if iskeyword(found) or found in WORDS or found in ("pipeline", "anomaly", "preprocessing")
        else found
    )
