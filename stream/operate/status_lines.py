"""What was found of a pipeline, as lines for people and as JSON: what is wrong first.

Laws of this file:
- Pure. The command line prints these lines, and the console shows the same numbers by the same functions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.stream import topology
from penstock.stream.operate.control_lines import moment
from penstock.stream.operate.expert_lines import who_predicts
from penstock.stream.operate.status_found import LETTERS, Status, told_once
from penstock.stream.process.terminal import printable

SHOWN_REASONS = 6


def as_json(found: Status) -> dict[str, Any]:
    """The status for programs."""
    return {
        "pipeline": found.pipeline,
        "healthy": not found.wrong,
        "wrong": found.wrong,
        "roles": {name: {"members": role.members, "lag": role.lag} for name, role in found.roles.items()},
        "event_age_s": found.event_age_s,
        "tick_age_s": found.tick_age_s,
        "of_newest_records": found.tail,
        "samples": found.samples,
        "labels": found.labels,
        "pending": found.pending,
        "duplicate_labels": found.duplicates,
        "contradicting_labels": found.contradictions,
        "scores": None if found.scores is None else found.scores._asdict(),
        "dead_letters": found.dead_total,
        "newest_dead_letters": [
            {"topic": topic, "reason": reason, "count": count}
            for (topic, reason), count in found.dead.most_common()
        ],
        "open_episodes": [msgspec.to_builtins(event) for event in found.open],
        "live": None if found.live is None else msgspec.to_builtins(found.live),
        "waiting": found.waiting,
        **({"shards": [_shard_as_json(one) for one in found.shards]} if found.shards else {}),
    }


def _shard_as_json(found: Status) -> dict[str, Any]:
    """The same of a shard, without what only the pipeline has."""
    of_all = ("roles", "event_age_s", "tick_age_s", "dead_letters", "newest_dead_letters")
    return {name: value for name, value in as_json(found).items() if name not in of_all}


def as_text(found: Status) -> list[str]:
    """The status for people: what is wrong first."""
    lines = [f"{found.pipeline}: {'something is wrong' if found.wrong else 'all is well'}"]
    lines += [f"!! {line}" for line in found.wrong]
    for name, role in found.roles.items():
        lag = "unknown" if role.lag is None else f"{role.lag:,} records"
        lines.append(f"{name:<10} {', '.join(role.members) or 'nobody'}; lag {lag}")
    lines.append(
        f"time       {newest_event(found.event_age_s)}; featurize's newest tick {age(found.tick_age_s)} old"
    )
    models = [_shard(one) for one in found.shards] or [_live(found), *_retrains(found)]
    lines += [*models, *_quality(found), *_dead(found)]
    story = told_once(found.shards, ("suspected", "firing"))
    lines += [f"open       {line}" for line in story]
    for event in found.open:
        since = moment(event.data.since.get("at"))
        lines.append(
            f"open       {event.data.kind} of {event.subject}, {event.data.state} since {since}: {event.data.reason}"
        )
    if not found.open and not story:
        lines.append("open       no episode")
    waiting = {k: v for one in (found, *found.shards) for k, v in one.waiting.items()}
    lines += [f"waits      {what}  (request {request})" for request, what in waiting.items()]
    return [printable(line) for line in lines]


def newest_event(event_age_s: float | None) -> str:
    """How old the newest event is, in words."""
    return "no event yet" if event_age_s is None else f"newest event {age(event_age_s)} old"


def age(seconds: float | None) -> str:
    """A duration in the largest unit that is not 0."""
    if seconds is None:
        return "? s"
    for unit, size in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def _live(found: Status) -> str:
    live = found.live
    if live is None:
        return "live       nothing was said yet: the fresh model"
    models = sum(one.kind != "base" for one in live.experts)
    known = [who_predicts(live), f"of {models} model{'s' if models > 1 else ''}" if models else ""]
    said = ", ".join(part for part in known if part)
    return f"live       {live.version}: {live.why}; {said + '; ' if said else ''}said at {moment(live.at)} (event time)"


def _shard(found: Status) -> str:
    """One shard in one line."""
    live, number = found.live, topology.shard_of(found.pipeline)
    said = ["nothing was said yet: the fresh model"] if live is None else [live.version, who_predicts(live)]
    said += ["learning is held"] if live is not None and live.held else []
    said += [f"{len(live.retraining)} retrains under way"] if live is not None and live.retraining else []
    said.append(f"{found.samples:,} samples, {found.pending:,} without a label yet")
    said += [] if found.scores is None else [found.scores.text]
    said += [f"{len(found.open)} open"] if found.open else []
    return f"shard {number:<4} {'; '.join(part for part in said if part)}"


def _retrains(found: Status) -> list[str]:
    """The retrains under way, and each trigger with what is missing for the next."""
    live = found.live
    if live is None:
        return []
    said = [f"under way: {command}" for command in live.retraining]
    for one in live.triggers:
        due = ""
        if one.due_at is not None:
            due = f"; next at {moment(one.due_at)} (event time)"
        elif one.labels_missing is not None:
            due = f"; {one.labels_missing:,} labels were missing at {moment(live.at)} (event time)"
        said.append(f"{one.rule}; {one.window}{due}")
    return [f"{'retrain' if not number else '':<10} {line}" for number, line in enumerate(said)]


def _quality(found: Status) -> list[str]:
    lines = [
        f"labels     of the newest {found.tail:,} records of the samples log: {found.samples:,} samples, "
        f"{found.labels:,} labels, {found.pending:,} samples without one yet"
    ]
    if found.duplicates or found.contradictions:
        lines.append(
            f"           {found.duplicates:,} labels said the same of an id again, "
            f"{found.contradictions:,} something else; only the first counts"
        )
    measured = found.scores
    if measured is None:
        return [*lines, "loss       no prediction has its label among them yet"]
    return [*lines, f"loss       {measured.text}"]


def _dead(found: Status) -> list[str]:
    if not found.dead_total:
        return ["dead       no dead letter"]
    shown = min(found.dead_total, LETTERS)
    lines = [f"dead       {found.dead_total:,} dead letters; of the newest {shown:,}:"]
    for (topic, reason), count in found.dead.most_common(SHOWN_REASONS):
        lines.append(f"           {count:,} × {topic or 'unknown place'}: {reason}")
    return lines
