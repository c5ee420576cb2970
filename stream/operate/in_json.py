"""A definition whose topics are plain JSON, whatever its own are: for events that are given by their fields.

Laws of this file:
- Pure. What is computed from an event depends on its fields alone, so features, samples and labels are those of the definition
  itself; only its recipe's digest is another one where a format was taken away.
"""

from __future__ import annotations

from dataclasses import fields, replace

from penstock.stream.definitions import Pipeline, Source

#: What a source says of its events; everything else says how they are written.
SAYS = ("name", "id", "time", "key", "grace", "ahead")


def in_json(pipeline: Pipeline) -> Pipeline:
    """The same pipeline with every source in plain JSON; itself where all of them are."""
    plain = {source.name: _plain(source) for source in pipeline.sources}
    if all(plain[source.name] == source for source in pipeline.sources):
        return pipeline
    return replace(
        pipeline,
        predict=plain[pipeline.predict.name],
        label=replace(pipeline.label, source=plain[pipeline.label.source.name]),
        views=[replace(view, source=plain[view.source.name]) for view in pipeline.views],
    )


def _plain(source: Source) -> Source:
    how = {one.name: one.default for one in fields(source) if one.name not in SAYS}
    return replace(source, **how) if how else source  # type: ignore[arg-type]
