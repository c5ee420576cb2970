"""How a pipeline is, as `status` found it: plain data, and what in it a person should look at.

Laws of this file:
- Pure: `penstock status`, its JSON and the console show one and the same `Status`.
- Every number says over what it was taken; `wrong` holds a line for each thing a person should look at, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from penstock.stream import topology
from penstock.stream.control.state import PolicyState
from penstock.stream.messages import ControlEvent, LiveModel
from penstock.stream.operate.scores import AnyScores

STALE_S = 60.0
LEAST_LABELS = 500
LETTERS = 1_000


@dataclass
class RoleStatus:
    """One role: who is in its group, and how many records of what it reads lie after the group's offset (None: unknown)."""

    members: list[str] = field(default_factory=list)
    lag: int | None = None


@dataclass
class Status:
    """One pipeline at one moment.

    Ages are seconds. `samples`, `labels` and `pending` are counts of the newest `tail` records, and so are labels that said the
    same of an id again (`duplicates`), or something else (`contradictions`).

    `scores` are of the predictions with labels among them. `dead` counts the newest dead letters by (topic, reason), of
    `dead_total` in all. `open` are episodes that are not over, `waiting` the requests that wait for a person, by id;
    `policy` is what the control role remembers. A pipeline that learns in shards has the status of each in `shards`, without
    roles; what is live, open and waiting is then theirs, and counts are of all of them.
    """

    pipeline: str
    roles: dict[str, RoleStatus]
    tail: int = 0
    samples: int = 0
    labels: int = 0
    pending: int = 0
    event_age_s: float | None = None
    tick_age_s: float | None = None
    scores: AnyScores | None = None
    dead_total: int = 0
    dead: Counter[tuple[str, str]] = field(default_factory=Counter)
    open: list[ControlEvent] = field(default_factory=list)
    live: LiveModel | None = None
    waiting: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    duplicates: int = 0
    contradictions: int = 0
    policy: PolicyState | None = None
    shards: list[Status] = field(default_factory=list)


def still_open(events: Iterable[ControlEvent]) -> list[ControlEvent]:
    """The newest event of each finding that is not over. Several may be told in one episode, and one may end before another."""
    newest = {(event.data.episode, event.data.kind, event.subject): event for event in events}
    return [event for event in newest.values() if event.data.state in ("suspected", "firing")]


def wrong(found: Status) -> list[str]:
    """A line for each thing a person should look at."""
    lines = [
        f"nobody runs {role}: penstock run FILE --role {role}"
        for role, status in found.roles.items()
        if not status.members
    ]
    behind = (found.roles["featurize"].lag or 0) if found.roles else 0
    if behind and found.tick_age_s is not None and found.tick_age_s > STALE_S:
        lines.append(
            f"featurize has {behind:,} records to read and wrote nothing for {found.tick_age_s:,.0f} s: look at its log"
        )
    if found.live is not None and found.live.held:
        lines.append(f"learning is held: penstock resume {found.pipeline} --reason …, or a rollback, ends it")
    measured = found.scores
    worse = measured.worse if measured is not None and measured.labels >= LEAST_LABELS else None
    lines += [worse] if worse else []
    lines += [
        f"{event.data.kind} of {event.subject} is firing"
        for event in found.open
        if event.data.state == "firing"
    ]
    lines += [f"waits for a person: {what}" for what in found.waiting.values()]
    lines += [
        f"shard {topology.shard_of(one.pipeline)}: {line}"
        for one in found.shards
        for line in wrong(one)
        if "is firing" not in line
    ]
    lines += [f"{one} is firing" for one in told_once(found.shards, ("firing",))]
    return lines


def sum_up(found: Status) -> None:
    """Count what the shards have together."""
    for name in ("tail", "samples", "labels", "pending", "duplicates", "contradictions"):
        setattr(found, name, sum(getattr(one, name) for one in found.shards))


def told_once(shards: Sequence[Status], states: Collection[str]) -> list[str]:
    """What is open in shards, as one story: the same finding in several of them is told once, with where it was found first."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for one in shards:
        for event in one.open:
            if event.data.state in states:
                since = event.data.since.get("at") or 0
                place = (since, topology.shard_of(one.pipeline))
                found.setdefault((event.data.kind, event.subject or ""), []).append(place)
    lines = []
    for (kind, subject), places in sorted(found.items(), key=lambda item: min(item[1])):
        numbers = sorted(shard for _, shard in places)
        named = ", ".join(map(str, numbers))
        first = f", first in {min(places)[1]}" if len(numbers) > 1 else ""
        lines.append(f"{kind} of {subject} in shard{'s' if len(numbers) > 1 else ''} {named}{first}")
    return lines
