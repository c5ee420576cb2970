"""The definition that a changed one is compared with, as plain data.

Laws of this file:
- Pure. A former definition is what is stored of it; of a file it is what would be stored, so both are compared alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.records import rules
from penstock.stream.recipes import definition_document
from penstock.stream.shards import of_shard

OUTPUT_FORMAT = "output_format"


class Former(NamedTuple):
    """A former definition: `what` it is in words, what it `said`, and the `rules` it was judged by (empty: not known).

    `beside` is what is part of neither and asks for a restart of some roles: the cooldown, what starts a retrain, how is served.
    None where that is not recorded.
    """

    what: str
    said: Mapping[str, Any]
    rules: str
    beside: Mapping[str, str] | None = None

    @property
    def digest(self) -> str:
        """Its recipe's."""
        return str(self.said["recipe"])


def former_of(what: str, pipeline: Pipeline) -> Former:
    """The former definition that a loaded file holds."""
    return Former(what, said_by(pipeline), rules_by(pipeline), beside(pipeline))


def rules_by(pipeline: Pipeline, *, guard: bool = True) -> str:
    """The rules that learn's snapshots would name; of a pipeline in shards, those of each."""
    return rules(of_shard(pipeline, 0), guard=guard)


def said_by(pipeline: Pipeline) -> dict[str, Any]:
    """A definition as it would be stored with a task's state."""
    said: dict[str, Any] = json.loads(definition_document(pipeline))
    return said


def beside(pipeline: Pipeline) -> dict[str, str]:
    """What is part of neither recipe nor rules, by name."""
    return {
        "cooldown": pipeline.cooldown,
        "retrain": "; ".join(map(str, pipeline.retrain)),
        "retrain_window": str(pipeline.retrain_window),
        "serving": str(pipeline.serving),
        "race_cpu": f"{pipeline.race_cpu:g}",
        OUTPUT_FORMAT: pipeline.output_format,
    }
