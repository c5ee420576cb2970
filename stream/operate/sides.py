"""The two sides of a what-if: what was predicted, and what a changed definition predicts over the same history.

Laws of this file:
- Nothing is appended, committed, asked of a group or read from Redis: whatever runs does not notice.
- Where featurize would compute the same, the samples log is folded again; else its samples are computed anew from the sources.
- A changed definition lives by its own decisions: the policy decides at once on what its own fold asks for, and the commands in
  the log, which name models of another fold, are passed over. The log's own definition follows the log's commands, as what was
  predicted did; where a former definition is folded again, both sides live by decisions made at once, so that only the change
  differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count
from typing import Any, NamedTuple

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.entries import entries
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replay import replay
from penstock.stream.log.protocol import Log, UnknownTopic
from penstock.stream.messages import Command, Entry, Recipe, Sample
from penstock.stream.operate.attended import Attended
from penstock.stream.operate.pairs import ByOffset, ByOrigin, ByPosition, ClassesByOffset, Predicted
from penstock.stream.operate.recipe_change import CannotCompare, change_of
from penstock.stream.operate.recompute import Recomputation
from penstock.stream.operate.training_set import CannotExport, Span, Survey, survey
from penstock.stream.prediction import decode_prediction
from penstock.stream.recipes import recipe_of
from penstock.stream.task_kind import Kind

Progress = Callable[[str, int, int], None]
"""Hears of (what is done, how far, of how much)."""
SAY_RECORDS = 1_024
POLL_RECORDS = 10_000


class History(NamedTuple):
    """The samples log of a pipeline as it stands: its bounds, and what the range holds.

    `opening` is the recipe before the log's first one, `recipe` the one that the last sample of the range was written under.
    """

    log: Log
    topic: str
    start: int
    stop: int
    span: Span
    found: Survey
    opening: Recipe
    recipe: Recipe

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Everything, from the log's start."""
        return entries(self.log, self.topic, self.start, self.stop)


def history_of(log: Log, topic: str, span: Span, opening: Recipe, progress: Progress) -> History:
    """Look at a samples log. Raises `CannotCompare` for one that cannot be read, or has no sample in the range."""
    try:
        start, stop = log.bounds([(topic, 0)])[(topic, 0)]
    except UnknownTopic:
        raise CannotCompare(
            f"there is no history: topic {topic!r} does not exist. A changed definition keeps the name of the pipeline that ran"
        ) from None
    read = told(entries(log, topic, start, stop), "reading the samples log", start, stop, progress)
    recipes: list[tuple[int, Recipe]] = []

    def noted() -> Iterator[tuple[int, Entry]]:
        for position, entry in read:
            if isinstance(entry, Recipe):
                recipes.append((position, entry))
            yield position, entry

    try:
        found = survey(noted(), span, opening)
    except CannotExport as error:
        raise CannotCompare(f"{error}, with --against") from None
    if not found.samples:
        raise CannotCompare(f"{topic} has no sample in this range")
    recipe = next((one for at, one in reversed(recipes) if at <= found.last_position), opening)
    return History(log, topic, start, stop, span, found, opening, recipe)


def notes_of(history: History, pipeline: Pipeline, *, recomputed: bool) -> list[str]:
    """What a reader of the comparison should know of the history."""
    found = []
    if history.start:
        found.append(
            f"records 0 to {history.start - 1:,} of {history.topic} are gone: the fold begins after them"
        )
    if len(history.found.recipes) > 1:
        found.append(
            f"the range was lived under {len(history.found.recipes)} recipes: {', '.join(history.found.recipes)}"
        )
    if recomputed:
        tps = [
            (source.name, partition)
            for source in pipeline.sources
            for partition in range(history.log.partitions(source.name))
        ]
        gone = sum(low for low, _ in history.log.bounds(tps).values())
        if gone:
            found.append(
                f"{gone:,} records of the sources are gone: features that look back to them know less than they did live"
            )
    return found


def told(
    found: Iterable[tuple[int, Entry]], what: str, start: int, stop: int, progress: Progress
) -> Iterator[tuple[int, Entry]]:
    """The same entries; `progress` hears of them now and then."""
    for position, entry in found:
        if position % SAY_RECORDS == 0:
            progress(what, position - start, stop - start)
        yield position, entry


def as_predicted(
    log: Log, pipeline: str, prefix: str, start: int, progress: Progress, kind: Kind = "binary"
) -> Predicted:
    """What was predicted at the time, as far as the predictions topic still holds it; `start` is the samples log's."""
    topic = topology.predictions(pipeline, prefix)
    first, stop = log.bounds([(topic, 0)])[(topic, 0)]
    made = ByPosition(start, _kept(kind))
    if first == stop:
        return made.said
    reader = log.reader({(topic, 0): first})
    try:
        position = first
        while position < stop:
            for record in reader.poll(POLL_RECORDS, 1.0):
                try:
                    one = decode_prediction(record.value or b"")
                except (ValueError, RecursionError):
                    continue  # somebody else's
                said = one.classes if kind == "multiclass" else one.prediction
                if isinstance(said, dict if kind == "multiclass" else float):
                    made.put(one.position, said, one.at)
            position = reader.positions().get((topic, 0), position)
            progress("reading predictions", position - first, stop - first)
    finally:
        reader.close()
    return made.said


def folded(
    pipeline: Pipeline,
    history: History,
    *,
    alone: bool,
    what: str,
    progress: Progress,
    recompute: bool = False,
    follow: bool = False,
) -> Predicted:
    """What a definition says of every sample of the history up to the end of the range.

    With `alone` its own model says it, without the others that would predict beside it. With `recompute` samples are computed
    anew in any case. With `follow` a definition that is the log's own follows the log's commands, as they fell; otherwise its
    policy decides, at once, as it does for every other definition.
    """
    recompute = recompute or change_of(history.recipe, pipeline).recomputes
    what = f"{'computing samples of' if recompute else 'folding'} {what}"
    last = history.found.last_position
    if follow and not (recompute or alone) and history.recipe.digest == pipeline.digest:
        made = ByPosition(history.start, _kept(pipeline.kind))
        replay(
            pipeline,
            history.log,
            history.topic,
            stop=last + 1,
            progress=lambda position, stop: progress(what, position - history.start, stop - history.start),
            predicted=lambda one: made.put(one.position, one.p, one.at),
        )
        return made.said
    read = read_by(pipeline, history, what, progress, recompute=recompute)
    said, step = ByOrigin(_kept(pipeline.kind)), _by_itself(pipeline) if alone else Attended(pipeline).step
    for entry in read:
        p = step(entry)
        if p is not None and isinstance(entry, Sample):
            said.put(entry.origin, p)
    return said.said


def read_by(
    pipeline: Pipeline,
    history: History,
    what: str,
    progress: Progress,
    *,
    recompute: bool,
    whole: bool = False,
) -> Iterator[Entry]:
    """The entries for a fold of `pipeline` up to the last sample of the range: the log's own, or computed anew from the sources.

    With `whole` the log's own go up to its end.
    """
    if recompute:
        again = Recomputation(pipeline, history.log, lambda done, total: progress(what, done, total))
        return iter(again.entries(history.span.stop))
    stop = history.stop if whole else history.found.last_position + 1
    stretch = entries(history.log, history.topic, history.start, stop)
    return read_as(pipeline, told(stretch, what, history.start, stop, progress), history)


def read_as(pipeline: Pipeline, found: Iterable[tuple[int, Entry]], history: History) -> Iterator[Entry]:
    """The entries for a fold of `pipeline`: a recipe that featurizes alike is followed by its own, and commands are left out."""
    own = recipe_of(pipeline)
    opening = [history.opening] if history.start and history.opening.digest != own.digest else []
    for entry in chain(opening, (entry for _, entry in found)):
        if isinstance(entry, Command):
            continue
        yield entry
        if isinstance(entry, Recipe) and entry.digest != own.digest and _reads_alike(entry, pipeline):
            yield own


def _reads_alike(recipe: Recipe, pipeline: Pipeline) -> bool:
    try:
        return not change_of(recipe, pipeline).recomputes
    except CannotCompare:
        return False


def _kept(kind: Kind) -> type[ByOffset] | type[ClassesByOffset]:
    """How the answers of a task are kept."""
    return ClassesByOffset if kind == "multiclass" else ByOffset


def _by_itself(pipeline: Pipeline) -> Callable[[Entry], Any]:
    """The first model alone, as if nobody watched it: a step that gives its prediction of a sample."""
    fold, number = Fold(pipeline, actions=False), count()

    def step(entry: Entry) -> Any:
        fold.step(next(number), entry)
        made = fold.outputs.predictions
        p = made[-1].p if made else None
        made.clear()
        fold.outputs.live.clear()
        fold.outputs.history.clear()
        return p

    return step
