"""A Penstock pipeline's views as the definitions of a Feast repository, for Feast's SDK to read them by.

Laws of this file:
- Every feature has its name and a type that holds its values; a list of pairs is text, as JSON. Keys are text: to Penstock 7 and
  "7" are one entity.
- A source is named where its events would be; Feast never reads it to serve, and materializes nothing.
"""

from __future__ import annotations

import re

from penstock.features.define.kinds import Feature
from penstock.features.define.view import View
from penstock.stream.definitions import Pipeline


def to_feast(pipeline: Pipeline) -> str:
    """The text of a definition file of Feast's."""
    keys = list(dict.fromkeys(part for view in pipeline.views for part in view.key_fields))
    lines = [
        f'"""The features of pipeline {pipeline.name!r}, which Penstock keeps, for Feast to read."""',
        "",
        "from datetime import timedelta",
        "",
        "from feast import Entity, FeatureView, Field, FileSource, ValueType",
        "from feast.types import Array, Float64, String",
        "",
    ]
    for key in keys:
        lines.append(
            f"{_variable(key)} = Entity(name={key!r}, join_keys=[{key!r}], value_type=ValueType.STRING)"
        )
    sources = {source.name: source for source in pipeline.sources}
    for name in dict.fromkeys(view.source.name for view in pipeline.views):
        path = f"{name}.parquet"
        lines.append(
            f"{_variable(name)}_events = FileSource(name={name!r}, path={path!r}, timestamp_field={sources[name].time!r})"
        )
    for view in pipeline.views:
        lines += _view(view)
    return "\n".join(lines) + "\n"


def _view(view: View) -> list[str]:
    entities = ", ".join(map(_variable, view.key_fields))
    key = ",".join(view.key_fields)
    tags = f'{{"penstock.key": {key!r}}}' if len(view.key_fields) > 1 else "{}"
    fields = [(part, "String") for part in view.key_fields]
    fields += [(name, _type(feature)) for name, feature in view.features.items()]
    return [
        f"{_variable(view.name)}_view = FeatureView(",
        f"    name={view.name!r}, entities=[{entities}], source={_variable(view.source.name)}_events, tags={tags},",
        "    ttl=timedelta(0), online=True, schema=[",
        *(f"        Field(name={name!r}, dtype={kind})," for name, kind in fields),
        "    ],",
        ")",
    ]


def _type(feature: Feature) -> str:
    if feature.kind == "top_k":
        return "String"
    if feature.kind in ("last_n", "histogram"):
        return "Array(String)" if feature.holds == "text" else "Array(Float64)"
    return "String" if feature.holds == "text" else "Float64"


def _variable(name: str) -> str:
    found = re.sub(r"\W", "_", name).strip("_").lower()
    return found if found[:1].isalpha() else f"v_{found}"
