"""From one definition to the next: what changes, and what an older recipe's samples still say under a newer one.

Laws of this file:
- What featurize produces (views, inputs, the meaning of labels, where events come from) changes only while every task of the
  pipeline stands still: `penstock backfill`. What it does not produce (the model, waits, rules) changes with a restart.
- An input of an older recipe is read under a newer one only if both define it alike, and its labels only if they mean the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from penstock.features.define.view import View
from penstock.features.engine.change import ViewChange, change, view_of
from penstock.stream.definitions import DefinitionError, Pipeline, Source
from penstock.stream.messages import Recipe, Sample


class DefinitionChanged(DefinitionError):
    """State was written under a definition that featurized otherwise."""

    def __init__(self, pipeline: str, found: Changes) -> None:
        super().__init__(
            f"the definition of {pipeline!r} changed since its state was written ({'; '.join(found.lines())}): "
            f"`penstock backfill FILE` brings state and features over, or run the former definition"
        )


class Changes(NamedTuple):
    """What differs between the definition that state was written under and a newer one."""

    views: list[ViewChange]
    others: list[str]

    def lines(self) -> list[str]:
        """Each change in a few words."""
        found = []
        for view in self.views:
            if view.new is None:
                found.append(f"view {view.name} goes")
                continue
            said = [f"{', '.join(names)} {what}" for names, what in (
                (view.kept, "kept"), (view.rebuilt, "rebuilt"), (view.removed, "removed"),
            ) if names]  # fmt: skip
            found.append(f"{'new view' if view.old is None else 'view'} {view.name}: {', '.join(said)}")
        return [*found, *self.others]


def definition_document(pipeline: Pipeline, partitions: int = 0) -> bytes:
    """The definition as it is stored with a task's state, and how many partitions the sources have (0: not said)."""
    of = {"partitions": partitions} if partitions else {}
    return json.dumps(
        {"recipe": pipeline.digest, "partitioned": pipeline.partitioned, **of, **pipeline.describe()}
    ).encode()


def live_document(pipeline: Pipeline) -> bytes:
    """The public document of which version of each view is served."""
    views = {view.name: view.version for view in pipeline.views}
    return json.dumps({"views": views, "recipe": pipeline.digest}).encode()


def recipe_of(pipeline: Pipeline) -> Recipe:
    """The record that opens a lineage in the samples log."""
    return Recipe(pipeline.digest, pipeline.vector_names, json.dumps(pipeline.describe()), 0)


def views_of(said: Mapping[str, Any]) -> dict[str, View]:
    """The views of a stored definition. Raises `DefinitionError` for one that says what this release does not know."""
    try:
        sources = {one["name"]: Source(**one) for one in said["sources"]}
        return {one["name"]: view_of(one, sources[one["source"]]) for one in said["views"]}
    except (ValueError, TypeError, KeyError) as error:
        raise DefinitionError(
            "the definition that the state in Redis was written under was stored by another release of Penstock, and this one "
            f"cannot read it ({type(error).__name__}: {error}): run the release that wrote it, or start over with "
            "`penstock reset FILE`"
        ) from error


def changes(said: Mapping[str, Any], pipeline: Pipeline) -> Changes:
    """What differs from a stored definition, of all that needs `penstock backfill`."""
    before, after = views_of(said), {view.name: view for view in pipeline.views}
    found = [change(before.get(name), after.get(name)) for name in {**before, **after}]
    now = json.loads(definition_document(pipeline))
    others = []
    if [one["name"] for one in said["views"]] != [one["name"] for one in now["views"]] and not any(found):
        others.append("the order of the views")
    for what in ("predict", "inputs", "partitioned"):
        if said[what] != now[what]:
            others.append(f"{what}: {said[what]} → {now[what]}")
    if _carried(said) != _carried(now):
        others.append(f"segments beside the inputs: {_carried(said)} → {_carried(now)}")
    if _meaning(said) != _meaning(now):
        others.append("what a label means")
    read = [{s["name"]: (s["id"], s["time"], s["key"]) for s in one["sources"]} for one in (said, now)]
    if read[0] != read[1]:
        others.append("the sources, or their id, time or key")
    return Changes([one for one in found if one is not None], others)


def check_sharded_alike(said: Mapping[str, Any], pipeline: Pipeline) -> None:
    """Refuse a definition that shares events out to shards otherwise than the stored one. Raises `DefinitionError`."""
    before, now = said.get("shards"), pipeline.describe().get("shards")
    if before != now:
        raise DefinitionError(
            f"{pipeline.name!r} learned {_in_shards(before)} and now says {_in_shards(now)}: kept samples lie where they are, "
            "so this cannot change. Restore it, give the changed pipeline another name, or start over with `penstock reset FILE`"
        )


def refusal(said: Mapping[str, Any], pipeline: Pipeline) -> str:
    """Why a definition cannot go on with the state of the stored one at all, and what to do; empty if it can."""
    try:
        check_sharded_alike(said, pipeline)
    except DefinitionError as error:
        return str(error)
    if said["partitioned"] != pipeline.partitioned:
        return (
            "views keyed as their sources' partitions and views keyed otherwise keep their state differently: "
            "`penstock reset` starts over, or give the changed pipeline another name"
        )
    return ""


def _in_shards(said: Sequence[Any] | None) -> str:
    return "in one piece" if said is None else f"in {said[1]} shards by {said[0]!r}"


def _carried(said: Mapping[str, Any]) -> list[str]:
    """The segments whose values samples carry beside the vector, as `Pipeline.carried`."""
    return [name for name in said.get("segments", []) if name not in said["inputs"]]


def _meaning(said: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a label record of this definition says. One of a former version says no kind: it was true or false."""
    label = said["label"]
    return label["source"], label["outcome"], label.get("key"), label.get("target", "boolean")


def readable(recipe: Recipe, pipeline: Pipeline) -> list[str | None] | None:
    """The inputs of an older recipe by the name that `pipeline` reads them under, None for those it defines otherwise.

    None altogether when the recipe's labels mean something else, or nothing is said of it.
    """
    if recipe.digest == pipeline.digest:
        return list(recipe.inputs)
    try:
        said = json.loads(recipe.source)
        here = json.loads(definition_document(pipeline))
        if _meaning(said) != _meaning(here) or said["predict"] != here["predict"]:
            return None
        before, after = _inputs(said), _inputs(here)
    except (ValueError, KeyError, TypeError):
        return None
    return [name if name in after and before.get(name) == after[name] else None for name in recipe.inputs]


def topics_of(recipe: Recipe) -> frozenset[str] | None:
    """The topics that a recipe reads; None when its text does not say.

    >>> sorted(topics_of(Recipe("5188d1dfaa7f", ["hour"], '{"sources": [{"name": "sent"}, {"name": "done"}]}')))
    ['done', 'sent']
    """
    try:
        return frozenset(one["name"] for one in json.loads(recipe.source)["sources"])
    except (ValueError, KeyError, TypeError):
        return None


class Lineage(NamedTuple):
    """A stretch of the samples log under one recipe: from where, and by what names this definition reads its vectors.

    `alike` are the recipes whose vectors read the same: this one, those that differ in nothing featurize computes (their workers
    may still write for a while), and "" for samples that name none.
    """

    start: int
    digest: str
    names: Sequence[str | None] | None
    alike: frozenset[str]

    def reads(self, sample: Sample) -> bool:
        """Whether these are the names of the sample's vector. One by a former recipe came late: the right one follows."""
        return sample.recipe in self.alike and (self.names is None or len(self.names) == len(sample.x))


class RecipeHistory:
    """Which recipe the samples log stands under, record by record, as a fold of one definition reads it.

    `foreign` while it is another's: what comes is then predicted and learned as far as `names` are readable (None: not at all),
    and nothing else is decided on it. `began` is where the fold's own lineage began.
    """

    def __init__(self, recipe: str, names: Sequence[str]) -> None:
        self.recipe = recipe
        self.foreign = False
        self.began = 0
        self.known: dict[str, Sequence[str | None] | None] = {recipe: names}
        self.lineages: list[Lineage] = []
        self.now = self._open(0, recipe)

    def _open(self, position: int, digest: str) -> Lineage:
        names = self.known[digest]
        alike = {one for one, its in self.known.items() if its is not None and its == names}
        self.lineages.append(Lineage(position, digest, names, frozenset({"", digest, *alike})))
        return self.lineages[-1]

    @property
    def names(self) -> Sequence[str | None] | None:
        """The names of vectors now."""
        return self.now.names

    def begin(self, position: int, recipe: Recipe, pipeline: Pipeline) -> bool:
        """Go on under the recipe that stands at `position`; whether the fold's own lineage begins here after another's."""
        own = recipe.digest == self.recipe
        returns = own and self.foreign
        self.known[recipe.digest] = recipe.inputs if own else readable(recipe, pipeline)
        self.now = self._open(position, recipe.digest)
        self.foreign = not own
        if returns:
            self.began = position
        return returns

    def at(self, position: int) -> Lineage:
        """The lineage of the record at `position`."""
        return next(one for one in reversed(self.lineages) if one.start <= position)

    def until(self, position: int) -> RecipeHistory:
        """A history of its own that stands at `position`, to read on from there."""
        copy = RecipeHistory(self.recipe, self.lineages[0].names or [])  # type: ignore[arg-type]
        copy.known = dict(self.known)
        copy.lineages = [one for one in self.lineages if one.start <= position]
        copy.now = copy.lineages[-1]
        copy.foreign, copy.began = copy.now.digest != self.recipe, min(self.began, position)
        return copy


def _inputs(said: Mapping[str, Any]) -> dict[str, Any]:
    """What every input of a definition means."""
    meaning: dict[str, Any] = dict.fromkeys(said["inputs"])
    for view in said["views"]:
        for one in view["features"]:
            feature = {k: v for k, v in one.items() if k != "name"}
            meaning[f"{view['name']}.{one['name']}"] = (view["source"], view["key"], feature)
    return meaning
