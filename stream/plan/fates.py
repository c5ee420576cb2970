"""What becomes of what learn has: the model, its experts, the samples, the label, the shards, the episodes.

Laws of this file:
- Pure, and no decision of its own: learn opens its snapshot only under its recipe and its rules (`snapshot._check`), reads older
  samples as `recipes.readable` says, and decides nothing on them (`Fold.acting`). This says which of it will happen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.messages import Recipe
from penstock.stream.plan.former import Former, beside, said_by
from penstock.stream.plan.readers import inputs_of
from penstock.stream.recipes import readable

GOES_ON, REFIT, RESTARTS = "kept", "refit", "restarts"


class Fate(NamedTuple):
    """What becomes of one thing, in a word, and in a sentence."""

    thing: str
    becomes: str
    why: str


def fates_of(former: Former, pipeline: Pipeline, rules: str) -> list[Fate]:
    """What becomes of each; `rules` are the new definition's."""
    said = said_by(pipeline)
    same_recipe, same_rules = former.digest == pipeline.digest, former.rules in ("", rules)
    names = read_as(former.said, pipeline)
    unread = [] if names is None else [
        name for name, read in zip(inputs_of(former.said), names, strict=True) if read is None
    ]  # fmt: skip
    found = [_model(former.rules, rules, pipeline, names, same_recipe, same_rules)]
    found.append(_experts(same_recipe, same_rules))
    found.append(_samples(pipeline, names, unread, same_recipe))
    found.append(_label(former.said, said))
    found.append(Fate("shards", GOES_ON, "events are shared out as they were"))
    if same_recipe and same_rules:
        found.append(Fate("episodes", GOES_ON, "open ones go on"))
    elif same_recipe:
        found.append(Fate("episodes", REFIT, "found again in the whole log, under the new rules"))
    else:
        found.append(
            Fate("episodes", RESTARTS, "open ones are forgotten, and monitors learn what is usual anew")
        )
    return found


def refolds(former: Former, pipeline: Pipeline, rules: str) -> bool:
    """Whether learn folds the samples log anew."""
    return former.digest != pipeline.digest or former.rules not in ("", rules)


def read_as(said: Mapping[str, Any], pipeline: Pipeline) -> Sequence[str | None] | None:
    """Under which names the former definition's samples are read; None: not at all."""
    recipe = Recipe(str(said["recipe"]), inputs_of(said), json.dumps(said))
    return readable(recipe, pipeline)


def _model(
    before: str,
    rules: str,
    pipeline: Pipeline,
    names: Sequence[str | None] | None,
    same_recipe: bool,
    same_rules: bool,
) -> Fate:
    if same_recipe and same_rules:
        unknown = (
            "" if before else "; its rules are not recorded, and other ones make learn fold the log anew"
        )
        return Fate("model", GOES_ON, f"learn goes on from its snapshot{unknown}")
    if same_recipe:
        return Fate("model", REFIT, f"other rules: learn folds the samples log anew ({before} → {rules})")
    if names is None:
        return Fate(
            "model",
            RESTARTS,
            "nothing of the former samples and labels can be read: it begins as if it had seen nothing",
        )
    taught = "all of the former samples teach it"
    if lacking := [name for name in pipeline.vector_names if name not in names]:
        taught = f"the former samples teach it, and lack {', '.join(lacking)}"
    return Fate("model", REFIT, f"learn folds the samples log anew: {taught}")


def _experts(same_recipe: bool, same_rules: bool) -> Fate:
    if same_recipe and same_rules:
        return Fate("experts", GOES_ON, "with their weights")
    if same_recipe:
        return Fate(
            "experts", REFIT, "born, frozen and weighed again as the log is folded under the new rules"
        )
    return Fate(
        "experts",
        RESTARTS,
        "the definition's model is alone with the base rate until new ones are born; frozen copies, holds, pins and what people "
        "put in place are not carried over",
    )


def _samples(
    pipeline: Pipeline, names: Sequence[str | None] | None, unread: Sequence[str], same_recipe: bool
) -> Fate:
    if same_recipe:
        return Fate("samples", GOES_ON, "the log goes on")
    if names is None:
        return Fate(
            "samples", "unread", "they stay in the log, and this definition reads none of those before it"
        )
    of = f"{len(names) - len(unread)} of {len(names)} inputs"
    kept = GOES_ON if not unread else "read in part"
    return Fate("samples", kept, f"they stay in the log, and {of} of those before are read as they are")


def _label(said: Mapping[str, Any], now: Mapping[str, Any]) -> Fate:
    before, after = said["label"], now["label"]
    if before == after:
        return Fate("label", GOES_ON, "as it was")
    if what := [
        part for part in ("source", "outcome", "key", "target") if before.get(part) != after.get(part)
    ]:
        return Fate("label", RESTARTS, f"it means something else ({', '.join(what)})")
    joined = [f"{part}: {before.get(part)} → {after.get(part)}" for part in {**before, **after}
              if before.get(part) != after.get(part)]  # fmt: skip
    return Fate("label", REFIT, f"joined otherwise ({'; '.join(joined)})")


def restarts_of(former: Former, pipeline: Pipeline) -> list[str]:
    """What is part of neither recipe nor rules and differs: it takes a restart of the roles that read it, and no more."""
    if former.beside is None:
        return []
    now = beside(pipeline)
    return [
        f"{name}: {former.beside[name]} → {now[name]}" for name in now if former.beside[name] != now[name]
    ]
