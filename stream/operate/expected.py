"""What a definition expects of its producers: the fields of each topic, what they may hold, and a record that is right.

Laws of this file:
- Pure. Types come from the decoder itself, and the example is one that it takes.
"""

from __future__ import annotations

import json
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from penstock.stream.definitions import DefinitionError, Pipeline, Source
from penstock.stream.featurize.decode import Rejected, field_types
from penstock.stream.featurize.labels import label_of
from penstock.stream.targets import TAKEN

_NULL = type(None)
#: What a field may hold in words, and a value of it, by the types it may have.
_WORDS: dict[frozenset[Any], tuple[str, Any]] = {
    frozenset({str, int}): ("text or whole number", None),
    frozenset({int, float, str}): ("milliseconds since 1970, or RFC 3339 with a zone", None),
    frozenset({str, int, _NULL}): ("text, whole number or null", None),
    frozenset({int, _NULL}): ("whole number or null", 1),
    frozenset({float, _NULL}): ("number or null", 1.5),
    frozenset({str, _NULL}): ("text or null", "text"),
    frozenset({float, bool, _NULL}): ("number, true, false or null", 1.5),
    frozenset({float, str, bool, _NULL}): ("number, text, true, false or null", 1.5),
    frozenset({Any}): ("what the label reads", None),
}
_ANSWERS: tuple[Any, ...] = (False, 1.5, "text", None)


class ExpectedField(NamedTuple):
    """One declared field: what it may hold in words, and what reads it."""

    name: str
    holds: str
    uses: tuple[str, ...]


def expected_fields(pipeline: Pipeline, source: Source) -> list[ExpectedField]:
    """The declared fields of a topic's records, id, time and key first."""
    types = field_types(pipeline, source)
    first = dict.fromkeys([source.id, source.time, *source.key_fields])
    names = [*first, *(name for name in types if name not in first)]
    return [ExpectedField(name, _held(types[name])[0], _uses(pipeline, source, name)) for name in names]


def _held(kind: Any) -> tuple[str, Any]:
    """What a type may hold in words, and a value of it. Bounds of numbers are left out."""
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    bases = (get_args(part)[0] if get_origin(part) is Annotated else part for part in parts)
    return _WORDS.get(frozenset(bases), ("anything", None))


def _uses(pipeline: Pipeline, source: Source, name: str) -> tuple[str, ...]:
    uses = [what for what, field in (("id", source.id), ("event time", source.time)) if field == name]
    uses += ["key"] if name in source.key_fields else []
    predicts = source == pipeline.predict
    uses += ["input"] if predicts and name in pipeline.inputs else []
    uses += ["segment"] if predicts and name in pipeline.segments else []
    labels = pipeline.labelled and source == pipeline.label.source
    uses += ["label"] if labels and name in pipeline.label.fields else []
    uses += ["key of the label"] if (predicts or labels) and name in pipeline.label.key_fields else []
    for view in pipeline.views:
        own = view.source.name == source.name
        if (own or predicts) and name in view.key_fields:
            uses.append(f"key of view {view.name}")
        if own and name in view.fields:
            uses.append(f"view {view.name}")
    return tuple(uses)


def example(pipeline: Pipeline, source: Source, at_ms: int) -> dict[str, Any]:
    """A record of this topic with event time `at_ms` that can be used, as far as the label's function can be pleased."""
    tried = _tried(pipeline, source, at_ms)
    if source == pipeline.label.source:
        for event in tried:
            try:
                if label_of(pipeline.label.of(event), pipeline.target_kind) is not None:
                    return event
            except Exception:  # a user's function: another kind of answer may please it
                continue
    return tried[-1]


def check_outcome(pipeline: Pipeline) -> None:
    """Raise `DefinitionError` if the label's function gives values of events like the examples, and all are of another task."""
    found: list[Any] = []
    for event in _tried(pipeline, pipeline.label.source, 0):
        try:
            value = pipeline.label.of(event)
        except Exception:  # it may want other events than these
            continue
        try:
            if label_of(value, pipeline.target_kind) is not None:
                return
        except Rejected:
            found.append(value)
    if found:
        classes = pipeline.kind == "binary" and isinstance(found[0], str)
        hint = '; if it names one of several classes, say task="multiclass"' if classes else ""
        raise DefinitionError(
            f"Pipeline {pipeline.name!r}: the label's outcome of an example event is {found[0]!r}, and a label of the task "
            f"{pipeline.kind!r} must be {TAKEN[pipeline.target_kind]}{hint}"
        )


def _tried(pipeline: Pipeline, source: Source, at_ms: int) -> list[dict[str, Any]]:
    """Records of this topic with different answers in the fields that only the label reads, the last without one."""
    types = field_types(pipeline, source)
    made = {name: _held(kind)[1] for name, kind in types.items()}
    keyed = [pipeline.label.key_fields, *(view.key_fields for view in pipeline.views)]
    keys = {part for parts in keyed for part in parts if part in types}
    made |= {name: f"{name}-1" for name in [*keys, *source.key_fields] if made[name] is None}
    made |= {source.id: "id-1", source.time: at_ms}
    if source != pipeline.label.source:
        return [made]
    free = [name for name in pipeline.label.fields if _is_free(made, types, name)]
    return [*({**made, **dict.fromkeys(free, answer)} for answer in _ANSWERS), made]


def _is_free(made: dict[str, Any], types: dict[str, Any], name: str) -> bool:
    """Whether nothing but the label says what this field holds."""
    return types[name] is Any or made[name] is None


def example_line(pipeline: Pipeline, source: Source, at_ms: int) -> str:
    """The example as a line for `penstock publish`."""
    fields = expected_fields(pipeline, source)
    made = example(pipeline, source, at_ms)
    return json.dumps({field.name: made[field.name] for field in fields}, ensure_ascii=False)
