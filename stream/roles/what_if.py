"""What would another definition have predicted? For notebooks, and for `penstock what-if`.

Laws of this file:
- Reading only: topics are read without a group, and whatever runs does not notice.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.label_rule import LabelRule
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Recipe
from penstock.stream.operate import difference_plot, segments
from penstock.stream.operate.losses_by_task import Losses, losses_of
from penstock.stream.operate.moments import Moment, span_of
from penstock.stream.operate.pairs import Left, Pairing
from penstock.stream.operate.parts import Columns, Part
from penstock.stream.operate.recipe_change import CannotCompare, change_of
from penstock.stream.operate.sides import (
    History,
    Progress,
    as_predicted,
    folded,
    history_of,
    notes_of,
    told,
)
from penstock.stream.operate.training_set import Span, label_rule
from penstock.stream.operate.verdicts import verdict
from penstock.stream.process.settings import Settings
from penstock.stream.recipes import recipe_of
from penstock.stream.roles import start as start_of
from penstock.stream.shards import check_one

LIVE = "as it was predicted"
FOLDED = "the former definition, folded again"
NOT_PREDICTED = (
    "Nothing was predicted of the range when it came, as of a past that `penstock bootstrap` read from files. With --against "
    "FILE the definition that runs is folded again over it, and compared with."
)
COMPUTED_ANEW = " What changed is computed anew from the topics, though, and so of those events only that the topics have."


@dataclass(frozen=True)
class WhatIf:
    """A comparison. `verdict` says it in words, `rows` as figures: the whole, every month, every segment.

    A row has `part` (whole, month or the segment's field), `value`, `labels`, `live_loss` and `changed_loss` (mean log loss, nats
    a label; of numbers the mean absolute error), `difference` (changed less live: below 0 the change is better) with its 95 %
    interval `low` to `high`, `e_value_log10`, `clear` (the interval leaves 0 out, and the e-value is at least 20), and of both
    sides the AUC (`live_auc`, `changed_auc`), of classes the `accuracy`, of numbers the `rmse`. `left` counts what could not be
    compared. `changes` says what differs from the recipe that the history was lived under, or from `against`.
    """

    pipeline: str
    changes: list[str]
    recomputed: bool
    live: str
    alone: bool
    span: Span
    by: str | None
    left: Left
    notes: list[str]
    seconds: float
    columns: Columns = field(repr=False)
    parts: list[Part] = field(repr=False)

    @property
    def verdict(self) -> str:
        """The comparison in one or two sentences."""
        said = verdict(self.parts, self.columns.worth)
        nothing = 0 < self.left.not_live == self.left.samples
        if not nothing or self.live != LIVE:
            return said
        return f"{said} {NOT_PREDICTED}{COMPUTED_ANEW if self.recomputed else ''}"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One flat row for each part; `pandas.DataFrame(result.rows)` takes them as they are."""
        return [part.row() for part in self.parts]

    def labels(self) -> dict[str, list[Any]]:
        """Columns with one value for each label that was compared, in the order of the samples log.

        `event_id`, `key`, `at` (event time, ms), `label`, what was predicted as `live` and `changed` (the probability of true, or
        of the class that came, or the number), of classes the predicted ones as `live_class` and `changed_class`, the losses
        `live_loss` and `changed_loss`, and `segment` if the comparison was by one.
        """
        one = self.columns
        live, changed = one.losses
        found: dict[str, list[Any]] = {
            "event_id": one.event_id, "key": one.key, "at": one.at, "label": one.label, "live": one.live, "changed": one.changed,
            "live_loss": live.tolist(), "changed_loss": changed.tolist(),
        }  # fmt: skip
        if one.by.figure == "accuracy":
            found |= {"live_class": one.live_class, "changed_class": one.changed_class}
        return found if self.by is None else {**found, "segment": one.segment}

    def frame(self, *, labels: bool = False) -> Any:
        """The rows, or the single `labels`, as a pandas DataFrame, or as a pyarrow Table where there is no pandas.

        Raises `ImportError` where there is neither.
        """
        if importlib.util.find_spec("pandas") is not None:
            return importlib.import_module("pandas").DataFrame(self.labels() if labels else self.rows)
        if importlib.util.find_spec("pyarrow") is not None:
            table = importlib.import_module("pyarrow").table
            rows = self.rows
            return table(
                self.labels()
                if labels
                else {name: [row[name] for row in rows] for name in rows[0]}
                if rows
                else {}
            )
        raise ImportError(
            "a frame needs pandas or pyarrow (`pip install pyarrow`); `rows` and `labels()` need neither"
        )

    def svg(self) -> str:
        """The difference summed up over event time, as a picture."""
        return difference_plot.picture(self.pipeline, self.columns, self.parts)

    _repr_svg_ = svg

    def as_json(self) -> dict[str, Any]:
        """The comparison for programs, without the single labels."""
        return {
            "pipeline": self.pipeline,
            "changes": self.changes,
            "recomputed": self.recomputed,
            "live": self.live,
            "alone": self.alone,
            "from": self.span.start,
            "to": self.span.stop,
            "by": self.by,
            "verdict": self.verdict,
            "worth_acting_on": self.columns.worth,
            "parts": self.rows,
            "left": asdict(self.left),
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody wants to hear of."""


def what_if(
    changed: str | Path | Pipeline,
    *,
    start: Moment | None = None,
    stop: Moment | None = None,
    against: str | Path | Pipeline | None = None,
    alone: bool = False,
    by: str | None = None,
    recompute: bool = False,
    log: Log | None = None,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> WhatIf:
    """What another definition would have predicted of the history of the pipeline of its name, beside what was predicted.

    Args:
        changed: the changed definition: a file, or a `Pipeline`.
        start: the event time to compare from; the history before teaches all the same.
        stop: the event time to compare up to, without it.
        against: the former definition, folded again; without it the live side is what was predicted at the time.
        alone: the model of the definition by itself, without the others that Penstock would let predict beside it.
        by: also compare by this input, by "key" (the entity), or by another field of the predicted events.
        recompute: compute samples anew from the source topics, even if views and inputs are the same.
        log: where the topics are, if it is open already.
        settings: where they are otherwise; by default what the environment says.
        progress: hears of (what is done, how far, of how much).

    Raises:
        CannotCompare: when there is nothing to compare with; the message says what to do.

    Example (needs a broker, so it is not run here):
        from penstock import what_if
        result = what_if("changed.py", by="carrier")
        print(result.verdict)
        pandas.DataFrame(result.rows)            # or result.frame()
        pandas.DataFrame(result.labels())        # one row for each label; or result.frame(labels=True)

    """
    began_s = time.monotonic()
    span = span_of(start, stop, CannotCompare)
    settings = settings or Settings.from_env()
    pipeline = _loaded(changed)
    losses = _losses(pipeline)
    former = None if against is None else _loaded(against)
    if former is not None and former.name != pipeline.name:
        raise CannotCompare(
            f"the files define {former.name!r} and {pipeline.name!r}: a history belongs to one pipeline"
        )
    with ExitStack() as closing:
        if log is None:
            log = start_of.open_log(settings)
            closing.callback(log.close)
        topic = topology.samples(pipeline.name, settings.prefix)
        history = history_of(log, topic, span, recipe_of(former or pipeline), progress)
        recompute = recompute or change_of(history.recipe, pipeline).recomputes
        change = change_of(recipe_of(former) if former is not None else history.recipe, pipeline)
        if former is None:
            live = as_predicted(log, pipeline.name, settings.prefix, history.start, progress, pipeline.kind)
        else:
            live = folded(former, history, alone=alone, what="the former definition", progress=progress)
            pipeline = _loaded(changed)  # again: functions pickle by the file that was loaded last
        how = {"alone": alone, "recompute": recompute, "follow": former is None}
        other = folded(pipeline, history, what="the changed one", progress=progress, **how)
        pairing = Pairing(live, other, losses.knows)
        columns = _columns(pairing, losses, pipeline, history, by, progress)
        notes = notes_of(history, pipeline, recomputed=recompute)
    side = LIVE if former is None else FOLDED
    parts, took_s = columns.parts(by), time.monotonic() - began_s
    given = (pipeline.name, change.lines, recompute, side, alone, span, by, pairing.left, notes, took_s)
    return WhatIf(*given, columns, parts)


def _columns(
    pairing: Pairing,
    losses: Losses,
    pipeline: Pipeline,
    history: History,
    by: str | None,
    progress: Progress,
) -> Columns:
    """Pair the two sides, and find each pair's segment."""

    def rule_at(recipe: Recipe | None) -> LabelRule:
        said = None if recipe is None else label_rule(recipe)
        return said or pipeline.label_rule

    read = told(history.entries(), "joining labels", history.start, history.stop, progress)
    pairs = pairing.pairs(
        read, history.span, rule_at, opening=history.opening, last_position=history.found.last_position
    )
    columns = Columns(losses)
    logged = by is not None and segments.in_log(by, list(history.found.columns))
    places: list[tuple[int, int]] = []
    for pair in pairs:
        columns.add(pair, segments.of_pair(pair, by) if by and logged else None, by=by is not None)
        if by is not None and not logged:
            places.append((pair.origin.partition, pair.origin.offset))
    if places and by is not None:
        columns.segment = segments.of_events(history.log, pipeline.predict, by, places, progress)
    return columns


def _loaded(definition: str | Path | Pipeline) -> Pipeline:
    """The definition."""
    found = definition if isinstance(definition, Pipeline) else load(definition)
    check_one(found, "`penstock what-if` folds the history of")
    return found


def _losses(pipeline: Pipeline) -> Losses:
    """By what its predictions are judged. Raises `CannotCompare` for a pipeline without labels."""
    found = losses_of(pipeline.kind)
    if found is None:
        raise CannotCompare(
            f"{pipeline.name!r} has no labels, so nothing says which of two definitions is the better one; "
            "`penstock replay` folds its history again"
        )
    return found
