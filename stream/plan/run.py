"""Makes a plan: for `penstock plan`, and for programs.

Laws of this file:
- Reading only, as `live` and `what_if`. Nothing is decided here: what is kept is `recipes.changes`, asked through `Backfill.plan`
  where something runs, and the backtest is `roles.what_if`, with the same arguments that its command takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from penstock.features.define.durations import milliseconds
from penstock.stream import topology
from penstock.stream.backfill.ownership import CannotBackfill, TaskState
from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.operate.recipe_change import CannotCompare, of_learning
from penstock.stream.operate.sides import Progress
from penstock.stream.plan.columns import columns_of
from penstock.stream.plan.costing import costed
from penstock.stream.plan.fates import fates_of, refolds, restarts_of
from penstock.stream.plan.former import Former, former_of, rules_by, said_by
from penstock.stream.plan.live import (
    LIVE,
    World,
    backfill_of,
    newest_sample_ms,
    opened,
    standing,
)
from penstock.stream.plan.planned import Backtest, Plan
from penstock.stream.plan.readers import Finding, readers_of
from penstock.stream.plan.revision import former_file
from penstock.stream.plan.trial import judged
from penstock.stream.process.settings import Settings
from penstock.stream.recipes import Changes, changes, refusal
from penstock.stream.roles.what_if import WhatIf, silent, what_if

NOT_RECORDED = (
    "what runs does not record cooldown, retrain, retrain_window, serving and output_format: `--against FILE` compares "
    "these, too"
)

GUARD_OFF = (
    "learn runs with its guard off, as `--guard off` or the former definition says; if it was the definition, learn folds the "
    "samples log anew"
)
IN_FLINK = (
    "a job of Flink's keeps the state, which is not brought over to other views: stop the job, `penstock reset FILE`, remove its "
    "checkpoints, and begin it with this definition"
)


class Compared(NamedTuple):
    """What differs: the changes that need a backfill, why it would refuse, what it would say beside, why it wants `--partial`."""

    former: Former | None
    found: Changes
    refused: str
    notes: list[str]
    tasks: list[TaskState]
    lacks: str = ""


def plan(
    file: str | Path,
    *,
    against: str | Path = LIVE,
    backtest: str | None = None,
    tolerance: float = 0.0,
    offline: bool = False,
    settings: Settings | None = None,
    world: World | None = None,
    progress: Progress = silent,
) -> Plan:
    """What the definition in `file` would do.

    Args:
        file: the changed definition file.
        against: "live", a file, `REVISION:FILE`, or a git revision in which the file has the same path.
        backtest: a length such as "30d": also try it on so much of the history's end, as `what_if` does.
        tolerance: a clear difference of the loss up to so much a label counts as no worse.
        offline: ask no server; then there is no cost and no backtest, and `against` is a file or a revision.
        settings: where the servers are; by default what the environment says.
        world: the servers, if they are open already.
        progress: hears of (what is done, how far, of how much).

    Raises:
        DefinitionError: a file that holds no definition, no such revision, or a change that is half done.

    """
    settings = settings or Settings.from_env()
    if offline and (against == LIVE or backtest is not None):
        raise DefinitionError(
            "offline there is nothing live and no history: give --against a file or a revision, and no --backtest"
        )
    since_ms = None if backtest is None else milliseconds(backtest)
    with ExitStack() as closing:
        former, former_path = None, None
        if against != LIVE:
            former_path = closing.enter_context(former_file(str(against), Path(file)))
            if former_path is not None:
                former = former_of(str(against), load(former_path))
        pipeline = load(file)
        if former is not None and former.said["name"] != pipeline.name:
            raise DefinitionError(
                f"--against {against} defines {former.said['name']!r}, and {file} {pipeline.name!r}: a plan is of one pipeline"
            )
        if world is None and not offline:
            world = opened(settings, pipeline)
            closing.callback(world.log.close)
        compared = _compared(pipeline, former, world, live=against == LIVE)
        made = _plan(pipeline, str(file), str(against), compared, world, tolerance)
        if since_ms is None or world is None:
            return made
        tested = _backtest(
            str(file), former_path, str(backtest), since_ms, pipeline, world, settings, progress
        )
    return replace(made, backtest=tested)


def _compared(pipeline: Pipeline, former: Former | None, world: World | None, *, live: bool) -> Compared:
    """What differs from a `former` definition, or from the one that is `live`."""
    tasks: list[TaskState] = []
    notes: list[str] = []
    if world is not None:
        stands = standing(pipeline, world)
        tasks = stands.tasks
        if live and stands.former is not None:
            former = stands.former
            if stands.in_flink:
                found = changes(former.said, pipeline)
                return Compared(former, found, IN_FLINK if found.lines() else "", [NOT_RECORDED], tasks)
            asked = backfill_of(pipeline, world)
            try:
                found, refused = asked.plan(), ""
            except CannotBackfill as error:
                found, refused = changes(former.said, pipeline), str(error)
            return Compared(former, found, refused, [NOT_RECORDED], tasks, asked.lacks)
    if former is None:
        return Compared(None, Changes([], []), "", notes, tasks)
    if tasks and (runs := tasks[0].position.recipe) != former.digest:
        notes.append(f"what runs is recipe {runs}, and this is compared with {former.digest}")
    return Compared(former, changes(former.said, pipeline), refusal(former.said, pipeline), notes, tasks)


def _plan(
    pipeline: Pipeline, file: str, against: str, compared: Compared, world: World | None, tolerance: float
) -> Plan:
    former, found, refused, notes, tasks, lacks = compared
    now = said_by(pipeline)
    if former is None:
        return Plan(pipeline.name, file, against, "", pipeline.digest, notes=notes, tolerance=tolerance)
    rules = rules_by(pipeline)
    if former.rules and former.rules != rules and former.rules == rules_by(pipeline, guard=False):
        rules, notes = former.rules, [*notes, GUARD_OFF]
    readers = readers_of(former, pipeline, rules)
    again = refolds(former, pipeline, rules)
    cost = None
    if world is not None and not refused:
        cost, more = costed(pipeline, found, world, tasks, again=again)
        notes = [*notes, *more]
        readers = _looked_at(pipeline, readers, world)
    return Plan(
        pipeline.name,
        file,
        against,
        former.digest,
        pipeline.digest,
        found.lines(),
        _others(former, now, rules),
        columns_of(former.said, pipeline, found),
        readers,
        fates_of(former, pipeline, rules),
        restarts_of(former, pipeline),
        cost,
        notes,
        refused,
        lacks,
        again,
        tolerance=tolerance,
    )


def _others(former: Former, now: dict[str, Any], rules: str) -> list[str]:
    """What differs and needs no backfill, in a few words each."""
    lines = of_learning(former.said, now)
    was = {one["name"]: one for one in former.said["sources"]}
    for one in now["sources"]:
        before = was.get(one["name"], one)
        lines += [
            f"source {one['name']}: {name} {before.get(name, 'as usual')} → {one.get(name, 'as usual')}"
            for name in {**before, **one}
            if before.get(name) != one.get(name)
        ]
    if former.said.get("segments") != now.get("segments"):
        lines.append(f"segments: {former.said.get('segments', [])} → {now.get('segments', [])}")
    if former.rules not in ("", rules):
        lines.append(f"rules: {former.rules} → {rules}")
    return lines


def _looked_at(pipeline: Pipeline, readers: Sequence[Finding], world: World) -> list[Finding]:
    """What definitions do not tell of producers, told by their newest records."""
    found = []
    for one in readers:
        if not one.topic:
            found.append(one)
            continue
        seen = judged(pipeline, world.log, one.topic)
        dead = sum(seen.dead.values())
        if dead:
            why = max(seen.dead, key=lambda reason: seen.dead[reason])
            told = (
                f"{dead:,} of the newest {seen.records:,} records of {one.topic} would be dead letters: {why}"
            )
            found.insert(0, Finding("breaks", one.who, told))
        else:
            found.append(one._replace(what=f"{one.what}; all of the newest {seen.records:,} records have it"))
    return found


def _backtest(
    file: str,
    former: Path | None,
    asked: str,
    length_ms: int,
    pipeline: Pipeline,
    world: World,
    settings: Settings,
    progress: Progress,
) -> Backtest:
    """What `penstock what-if FILE --from T` says, from so long before the newest sample on."""
    try:
        newest = newest_sample_ms(world.log, topology.samples(pipeline.name, settings.prefix))
        if newest is None:
            return Backtest(asked, refused="there is no sample in the history yet")
        since = max(newest - length_ms, 0)
        found = what_if(
            file, start=since, against=former, log=world.log, settings=settings, progress=progress
        )
    except (CannotCompare, DefinitionError) as error:
        return Backtest(asked, refused=str(error))
    return Backtest(
        asked,
        since,
        without_time(found),
        found.verdict,
        _rows(found),
        found.parts[0] if found.parts else None,
    )


def without_time(found: WhatIf) -> dict[str, Any]:
    """A comparison as JSON, without what differs from run to run."""
    return {name: value for name, value in found.as_json().items() if name != "seconds"}


def _rows(found: WhatIf) -> tuple[str, ...]:
    """What stands below the verdict, for people."""
    left = found.left
    counts = f"{len(found.columns):,} of {left.samples:,} samples compared"
    how = "samples computed anew from the sources" if found.recomputed else "those of the samples log"
    return (f"{counts}; {how}; live: {found.live}", *(f"note: {note}" for note in found.notes))
