"""Who reads what a pipeline writes, or writes what it reads, and what a changed definition means to each.

Laws of this file:
- Pure: of two descriptions, never of a running system.
- `breaks` is what a reader of the former definition fails at, or takes for something that it is no longer. A column that is
  computed otherwise under its old name breaks: nobody would notice. What is only added breaks nobody.
- `reload` is what goes on once the new definition file is loaded. `look` is what the definitions alone do not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from penstock.features.define.kinds import LISTS, Feature
from penstock.features.define.view import View
from penstock.features.engine.compute import CompiledView
from penstock.stream.definitions import Pipeline
from penstock.stream.plan.columns import in_words, span
from penstock.stream.plan.former import OUTPUT_FORMAT, Former, said_by
from penstock.stream.recipes import views_of

Level = Literal["breaks", "reload", "look", "adds"]
_SETS, _CALIBRATED = re.compile(r"sets that hold ([\d.]+)"), ", calibrated"


class Finding(NamedTuple):
    """What a change means to one kind of reader: `who` reads what, and `what` becomes of it; of producers, of which `topic`."""

    level: Level
    who: str
    what: str
    topic: str = ""


def readers_of(former: Former, pipeline: Pipeline, rules: str) -> list[Finding]:
    """All that a change means to readers and producers, the worst first; `rules` are the new definition's."""
    said = said_by(pipeline)
    written = _written(former, pipeline)
    if former.digest == said["recipe"] and former.rules in ("", rules):
        return written
    found = [
        *written,
        *_documents(views_of(former.said), {view.name: view for view in pipeline.views}),
        *_predictions(former.said, said),
        *_answers(former.rules, rules),
        *_inputs(former.said, said),
        *_needed(former.said, said),
    ]
    order = ("breaks", "reload", "look", "adds")
    return sorted(found, key=lambda one: order.index(one.level))


# -- feature documents ------------------------------------------------------------------------------------------------------


def _documents(before: Mapping[str, View], after: Mapping[str, View]) -> Iterator[Finding]:
    for name in before:
        if name not in after:
            yield Finding("breaks", "feature documents", f"view {name} goes: its documents are deleted")
    for name, new in after.items():
        old = before.get(name)
        if old is None:
            yield Finding("adds", "feature documents", f"view {name} is new")
            continue
        yield from _of_view(old, new)
    changed = [name for name in after if name in before and before[name].version != after[name].version]
    if changed:
        yield Finding(
            "reload",
            "readers with definitions",
            f"FeatureReader with the former views raises OtherDefinition for {', '.join(changed)} until it loads this file",
        )


def _of_view(old: View, new: View) -> Iterator[Finding]:
    who = "feature documents"
    if old.key_fields != new.key_fields:
        keys = ["|".join(view.key_fields) for view in (old, new)]
        yield Finding("breaks", who, f"view {new.name} is keyed by {keys[1]}, it was by {keys[0]}")
    elif old.source.name != new.source.name:
        names = f"{old.source.name} → {new.source.name}"
        yield Finding("breaks", who, f"view {new.name} is computed from another topic: {names}")
    empty = dict(zip(old.features, _empty(old), strict=True))
    for name, feature in new.features.items():
        former = old.features.get(name)
        if former is None:
            yield Finding("adds", who, f"{new.name}.{name} is new: {in_words(feature)}")
        else:
            yield from _of_feature(f"{new.name}.{name}", former, feature, empty[name], _empty_of(new, name))
    for name in old.features:
        if name not in new.features:
            yield Finding("breaks", who, f"{new.name}.{name} goes")
    if new.ttl_ms < old.ttl_ms:
        told = f"documents of view {new.name} live for {span(new.ttl_ms)} after their last write, they did for {span(old.ttl_ms)}"
        yield Finding("look", who, told)


def _of_feature(name: str, old: Feature, new: Feature, was: Any, empty: Any) -> Iterator[Finding]:
    who = "feature documents"
    if type_of(old) != type_of(new):
        yield Finding("breaks", who, f"{name} is {type_of(new)}, it was {type_of(old)}")
    if was != empty:
        yield Finding(
            "breaks", who, f"{name} of an entity without events is {_shown(empty)}, it was {_shown(was)}"
        )
    undefaulted = [{k: v for k, v in one.describe().items() if k != "default"} for one in (old, new)]
    if undefaulted[0] != undefaulted[1]:
        told = f"{name} means something else under its old name: {in_words(old)} → {in_words(new)}; a new name breaks nobody"
        yield Finding("breaks", who, told)


def type_of(feature: Feature) -> str:
    """The JSON type of a feature's value where it is not null."""
    return "a list" if feature.kind in LISTS else "text" if feature.holds == "text" else "a number"


def _empty(view: View) -> list[Any]:
    compiled = CompiledView(view)
    return compiled.values(compiled.new(), 0)


def _empty_of(view: View, name: str) -> Any:
    return _empty(view)[list(view.features).index(name)]


def _shown(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else repr(value)


# -- predictions ------------------------------------------------------------------------------------------------------------


def _predictions(said: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding]:
    who = "predictions"
    if said["predict"] != now["predict"]:
        yield Finding("breaks", who, f"other events are predicted: {said['predict']} → {now['predict']}")
    if said.get("task", "binary") != now.get("task", "binary"):
        tasks = f"{said.get('task', 'binary')} → {now.get('task', 'binary')}"
        yield Finding(
            "breaks", who, f"another task, so the fields of a prediction mean something else: {tasks}"
        )
    elif _question(said) != _question(now):
        yield Finding("breaks", who, "the label means something else, so predictions answer another question")
    keys = [{one["name"]: one["key"] for one in of["sources"]}.get(of["predict"]) for of in (said, now)]
    if said["predict"] == now["predict"] and keys[0] != keys[1]:
        yield Finding("breaks", who, f"records are keyed by {keys[1]}, they were by {keys[0]}")


def _written(former: Former, pipeline: Pipeline) -> list[Finding]:
    """In which form predictions are written, where that is known of both."""
    was = (former.beside or {}).get(OUTPUT_FORMAT, pipeline.output_format)
    if was == pipeline.output_format:
        return []
    return [Finding("breaks", "predictions", f"they are written in {pipeline.output_format}, it was {was}")]


def _question(said: Mapping[str, Any]) -> tuple[Any, ...]:
    label = said["label"]
    return label["source"], label["outcome"], label.get("target", "boolean"), label.get("key")


def _answers(before: str, after: str) -> Iterator[Finding]:
    """What predictions say beside the prediction, as far as the former rules are known."""
    if not before:
        return
    sure = [found.group(1) if (found := _SETS.search(one)) else "" for one in (before, after)]
    if sure[0] and not sure[1]:
        yield Finding("breaks", "predictions", "they lose `interval` or `set`")
    elif sure[1] and not sure[0]:
        yield Finding("adds", "predictions", "they gain `interval` or `set`")
    elif sure[0] != sure[1]:
        yield Finding(
            "look", "predictions", f"intervals and sets hold {sure[1]} of the labels, it was {sure[0]}"
        )
    was, now = (_CALIBRATED in one for one in (before, after))
    if was and not now:
        yield Finding("breaks", "predictions", "they lose `calibrated`")
    elif now and not was:
        yield Finding("adds", "predictions", "they gain `calibrated`")


# -- the model's inputs, and what events must hold -----------------------------------------------------------------------------


def _inputs(said: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding]:
    was, will = inputs_of(said), inputs_of(now)
    gone, new = [name for name in was if name not in will], [name for name in will if name not in was]
    who = "models from outside, training sets"
    if gone:
        told = f"inputs go: {', '.join(gone)}; a model trained on them elsewhere never gets them again"
        yield Finding("breaks", who, told)
    if new:
        yield Finding("adds", who, f"inputs are new: {', '.join(new)}")
    if not gone and not new and was != will:
        yield Finding(
            "look", who, "the inputs stand in another order: columns by place are others, by name the same"
        )


def inputs_of(said: Mapping[str, Any]) -> list[str]:
    """The names of the model's inputs in the order of a sample's vector, as `Pipeline.vector_names`."""
    views = views_of(said).values()
    return [*said["inputs"], *(f"{view.name}.{name}" for view in views for name in view.numeric)]


def _needed(said: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding]:
    """What events must hold now and need not hold before."""
    was, will = needed(said), needed(now)
    for topic, fields in will.items():
        if topic not in was:
            yield Finding(
                "look",
                "producers",
                f"{topic} is read, which was not: it must be there, with as many partitions",
            )
            continue
        more = [name for name in fields if name not in was[topic]]
        kinds = {name: (was[topic][name], kind) for name, kind in fields.items() if name not in more}
        other = [f"{name} ({before} → {kind})" for name, (before, kind) in kinds.items()
                 if before != kind and "any" not in (before, kind)]  # fmt: skip
        if more or other:
            told = f"events of {topic} must hold {', '.join([*more, *other])}, which nothing read; without, they are dead letters"
            yield Finding("look", "producers", told, topic)
        if (more or other) and topic == now["predict"] == said["predict"]:
            told = f"a request without {', '.join([*more, *other])} is refused"
            yield Finding("breaks", "serving over HTTP", told)


def needed(said: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The fields of each topic's events that a definition reads, and what each holds: number, text, any, key or input.

    Those of the label's outcome are left out, which a stored definition does not name.
    """
    found: dict[str, dict[str, str]] = {}
    for source in said["sources"]:
        key = [source["key"]] if isinstance(source["key"], str) else source["key"]
        found[source["name"]] = {source["id"]: "any", source["time"]: "any", **dict.fromkeys(key, "any")}
    predicted = found[said["predict"]]
    for view in views_of(said).values():
        found[view.source.name].update(view.field_types)
        for of in (found[view.source.name], predicted):
            of.update({part: of.get(part, "any") for part in view.key_fields})
    predicted.update(
        {name: predicted.get(name, "any") for name in [*said["inputs"], *said.get("segments", [])]}
    )
    for of in (predicted, found[said["label"]["source"]]):
        of.update({part: of.get(part, "any") for part in said["label"].get("key", [])})
    return found


def breaks(found: list[Finding]) -> bool:
    """Whether anybody breaks."""
    return any(one.level == "breaks" for one in found)
