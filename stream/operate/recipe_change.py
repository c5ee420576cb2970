"""What a definition changes of the recipe that a history was lived under.

Laws of this file:
- Pure. Definitions that predict different things cannot be compared, and that is an error which says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.messages import Recipe
from penstock.stream.recipes import changes

MODEL_CHARACTERS = 160


class CannotCompare(Exception):
    """Why nothing can be said; the message says what to do."""


class Change(NamedTuple):
    """What a definition changes of a recipe, in a few words each, and whether featurize would compute other samples."""

    lines: list[str]
    recomputes: bool


def change_of(recipe: Recipe, pipeline: Pipeline) -> Change:
    """Compare a definition with a recipe. Raises `CannotCompare` where the two predict different things."""
    if recipe.digest == pipeline.digest:
        return Change([], False)
    try:
        said = {**json.loads(recipe.source), "partitioned": pipeline.partitioned}
        now: dict[str, Any] = json.loads(json.dumps(pipeline.describe()))
        found = changes(said, pipeline)
        asked, asks = (
            (of["predict"], of["label"]["outcome"], of["label"].get("target")) for of in (said, now)
        )
        if asked[:2] != asks[:2] or asked[2] not in (None, asks[2]):
            raise CannotCompare(
                f"{pipeline.name}: the changed definition predicts other events, or means something else by a true label, than "
                f"recipe {recipe.digest}: losses of different questions cannot be compared"
            )
        lines = found.lines()
        if not lines and said["sources"] != now["sources"]:
            lines.append("grace or ahead of a source")
    except (ValueError, KeyError, TypeError):
        return Change([f"recipe {recipe.digest} does not say what it was"], True)
    return Change([*lines, *of_learning(said, now)], bool(lines))


def of_learning(said: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two descriptions of all that learn alone goes by: the model, and how labels are joined."""
    model = (
        [f"the model: {model_change(said['model'], now['model'])}"] if said["model"] != now["model"] else []
    )
    return model + [
        f"the label's {what}: {said['label'].get(what)} → {now['label'].get(what)}"
        for what in ("wait", "within", "after", "absent", "corrected_for")
        if said["label"].get(what) != now["label"].get(what)
    ]


def model_change(before: str, after: str) -> str:
    """What differs between the texts of two models, line by line, without what they share."""
    old, new = (text.splitlines() for text in (before, after))
    parts: tuple[list[str], list[str]] = [], []
    for what, start, stop, first, last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what != "equal":
            parts[0].extend(old[start:stop])
            parts[1].extend(new[first:last])
    texts = [" ".join(" ".join(part).split()) or "nothing" for part in parts]
    return " → ".join(
        text if len(text) <= MODEL_CHARACTERS else f"{text[:MODEL_CHARACTERS]} …" for text in texts
    )
