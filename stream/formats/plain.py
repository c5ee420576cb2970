"""A pipeline as if its topics were plain JSON: for whoever makes events, or is given them as rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.stream.definitions import Pipeline, Source


def plain_json(pipeline: Pipeline) -> Pipeline:
    """The same pipeline over topics in plain JSON, under a recipe of its own; itself where they are that already."""
    if all(source.plain for source in pipeline.sources):
        return pipeline

    def plain(one: Any) -> Source:
        plainly: Source = replace(
            one, format="json", schema="", registry=True, envelope=None, deletes="ignore", nulls=None
        )
        return plainly

    return replace(
        pipeline,
        predict=plain(pipeline.predict),
        label=replace(pipeline.label, source=plain(pipeline.label.source)),
        views=[replace(view, source=plain(view.source)) for view in pipeline.views],
    )
