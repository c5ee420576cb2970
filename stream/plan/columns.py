"""Which columns of the features are kept, rebuilt or dropped, and why.

Laws of this file:
- Pure. What becomes of a column is read from `recipes.changes`, which featurize and `penstock backfill` act on; only the reason
  is found here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from penstock.features.define.durations import UNITS_MS
from penstock.features.define.kinds import Feature
from penstock.features.define.view import View
from penstock.features.engine.change import ViewChange
from penstock.stream.definitions import Pipeline
from penstock.stream.recipes import Changes, views_of

Fate = Literal["kept", "rebuilt", "dropped"]


class Column(NamedTuple):
    """One column of a view: what becomes of it, and why; `why` is empty where it stays as it was."""

    view: str
    feature: str
    fate: Fate
    why: str = ""

    @property
    def name(self) -> str:
        """As the model's inputs are named."""
        return f"{self.view}.{self.feature}"


def columns_of(said: Mapping[str, Any], pipeline: Pipeline, found: Changes) -> list[Column]:
    """Every column of both definitions, in their order, the former's first."""
    before, after = views_of(said), {view.name: view for view in pipeline.views}
    changed = {one.name: one for one in found.views}
    rows: list[Column] = []
    for name in {**before, **after}:
        rows += _of_view(before.get(name), after.get(name), changed.get(name))
    return rows


def _of_view(old: View | None, new: View | None, change: ViewChange | None) -> list[Column]:
    rows = []
    for name, feature in new.features.items() if new is not None else ():
        assert new is not None
        kept = change is None or name in change.kept
        rows.append(
            Column(new.name, name, "kept" if kept else "rebuilt", _why(old, new, name, feature, kept))
        )
    gone = (
        [name for name in old.features if new is None or name not in new.features] if old is not None else []
    )
    for name in gone:
        assert old is not None
        rows.append(Column(old.name, name, "dropped", "" if new is not None else "its view goes"))
    return rows


def _why(old: View | None, new: View, name: str, feature: Feature, kept: bool) -> str:
    """Why a column is not, or not quite, as it was."""
    if old is None:
        return "a new view"
    if old.key_fields != new.key_fields:
        return f"another key: {'|'.join(old.key_fields)} → {'|'.join(new.key_fields)}"
    if old.source.name != new.source.name:
        return f"another source: {old.source.name} → {new.source.name}"
    former = old.features.get(name)
    if former is None:
        return "new, of columns that are there" if kept else "new"
    if former.describe() == feature.describe():
        return "" if kept else "its tiles are shared with a column that looks back further than they do"
    return f"{in_words(former)} → {in_words(feature)}"


def in_words(feature: Feature) -> str:
    """A feature in a few words.

    >>> from penstock import mean
    >>> in_words(mean("delay", "90m"))
    'mean of delay over 90m'
    """
    said: str = feature.kind
    if feature.field is not None:
        said += f" of {feature.field}"
    if feature.window_ms is not None:
        shape = "" if feature.shape == "sliding" else f" {feature.shape}"
        said += f" over{shape} {span(feature.window_ms)}"
    if feature.parts:
        said += f" of {' and '.join(in_words(part) for part in feature.parts)}"
    for word, value in (("with", feature.constant), ("where", feature.where), ("default", feature.default)):
        said += "" if value is None else f" {word} {value}"
    return said if feature.holds == "number" else f"{said} ({feature.holds})"


def span(length_ms: int) -> str:
    """A length of time in the largest unit that it is a whole number of.

    >>> span(10_800_000), span(1_500)
    ('3h', '1500ms')
    """
    unit, ms = next((one for one in reversed(UNITS_MS.items()) if length_ms % one[1] == 0), ("ms", 1))
    return f"{length_ms // ms}{unit}"
