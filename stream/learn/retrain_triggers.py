"""The definition's triggers over the samples log: when a retrain is asked for, with its evidence.

Laws of this file:
- A function of the log and the definition: schedules go by the event time that ticks tell, counts by the labels learned. A
  replay, or a fold that goes on from a snapshot, fires the same triggers at the same records, with the same ids.
- Nothing here touches a model, nor what a command does: another definition's triggers change what is asked for, and no result.
- One at a time: what fires while a retrain is under way joins it, and says so. A schedule whose due times were passed in one step
  asks once, and says how many it missed.
- Moved inputs propose once, until that episode is over or a retrain has begun.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from penstock.monitors.episodes import episode_id
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.event_times import EventTimes
from penstock.stream.learn.events import Request
from penstock.stream.learn.records import FoldCounts, Job
from penstock.stream.messages import ControlData, ControlEvent, rfc3339
from penstock.stream.trigger_records import TriggerFired, TriggerShown
from penstock.stream.triggers import (
    KINDS,
    SINCE_ONSET,
    OnInputs,
    OnLabels,
    OnPerformance,
    OnSchedule,
    Trigger,
    in_words,
    window_of,
)

LATEST_MS = 221_845_392_000_000
"""The year 9000: schedules go by calendars, and an absurd event time must not end the fold."""
NEVER = 1 << 62


class RetrainTriggers:
    """One pipeline's triggers. `counts` and `open_jobs` are the fold's own.

    `labels_due` is the count of learned labels at which `counted` has something to say. `begun` counts retrains by what set them
    off, `fired` triggers by what became of them: asked, joined or proposed.
    """

    def __init__(self, pipeline: Pipeline, counts: FoldCounts, open_jobs: dict[str, Job]) -> None:
        self.counts, self.open_jobs = counts, open_jobs
        self.clock = 0
        self.blind = False
        self.counted_from, self.counted_at = 0, -1
        self.last: str | None = None
        self.last_at, self.last_position = 0, 0
        self.proposed: str | None = None
        self.begun: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self.fired: Counter[tuple[str, str]] = Counter()
        self.times = EventTimes()
        self.under(pipeline)

    def under(self, pipeline: Pipeline) -> None:
        """Go on under this definition's triggers, which may be others than before."""
        self.pipeline, self.rules, self.window = (
            pipeline.name,
            tuple(pipeline.retrain),
            pipeline.retrain_window,
        )
        self.schedules = [rule for rule in self.rules if isinstance(rule, OnSchedule)]
        self.next_due = self._next(self.clock) if self.clock else 0
        self._count()

    def _rule(self, kind: type[Trigger]) -> Any:
        return next((rule for rule in self.rules if isinstance(rule, kind)), None)

    def _next(self, clock: int) -> int:
        """When a schedule is due next, behind this event time."""
        return min((rule.after(clock) for rule in self.schedules), default=NEVER)

    def _count(self) -> None:
        rule = self._rule(OnLabels)
        self.labels_due = NEVER if rule is None else self.counted_from + rule.labels

    # -- schedule and labels --------------------------------------------------------------------------------------------------

    def tick(
        self, position: int, clock: int, newest: int, models: dict[str, str | None], *, acting: bool
    ) -> list[Request]:
        """Event time has reached `clock` (ms), and `newest` is the newest met: what the schedules ask for.

        While the log stands under another definition (`acting` is false) nothing is asked for.
        """
        self.times.note(newest, position)
        before = self.clock
        if not acting or clock <= before or clock > LATEST_MS:
            self.blind = self.blind or not acting
            return []
        self.clock, blind, self.blind = clock, self.blind, False
        found: list[Request] = []
        if clock < self.next_due:
            return found
        self.next_due = self._next(clock)
        for rule in self.schedules if before else ():
            due = rule.passed(before, clock)
            if due is None:
                continue
            why = ""
            if due.missed and blind:
                why = "the samples log stood under another definition meanwhile"
            elif due.missed:
                why = (
                    f"event time went from {rfc3339(before)} to {rfc3339(clock)} in one step: no event lies between, or the "
                    "clock waited for a source"
                )
            reason = f"the schedule's time {rfc3339(due.at)} has come ({rule})"
            if due.missed:
                reason += (
                    f"; {due.missed:,} before it {'was' if due.missed == 1 else 'were'} missed, since {why}"
                )
            evidence = {"due_at": due.at, "missed": due.missed, "why_missed": why}
            joins = found[0].event.id if found else None
            found.append(self._ask(rule, reason, clock, position, models, joins, None, **evidence))
        return found

    def counted(self, position: int, at: int, models: dict[str, str | None]) -> list[Request]:
        """So many labels were learned: ask, and count anew. Once a record, which may bring many labels by default."""
        if position == self.counted_at:
            return []
        rule, labels = self._rule(OnLabels), self.counts.learned - self.counted_from
        since = "the last retrain began" if self.last is not None else "the beginning"
        reason = f"{labels:,} labels were learned since {since}"
        request = self._ask(rule, reason, at, position, models, None, labels)
        self.counted_from, self.counted_at = self.counts.learned, position
        self._count()
        return [request]

    def _ask(
        self, rule: Any, reason: str, at: int, position: int, models: dict[str, str | None], joins: str | None,
        labels: int | None, **evidence: Any,
    ) -> Request:  # fmt: skip
        """The event of a trigger that counts: a moment, with no end."""
        subject = rule.every if isinstance(rule, OnSchedule) else f"{rule.labels} labels"
        episode = episode_id(self.pipeline, rule.kind, subject, position)
        data = ControlData(
            pipeline=self.pipeline,
            episode=episode,
            kind=rule.kind,
            state="due",
            severity="info",
            reason=reason,
            detector={"name": rule.kind, "subject": subject, "params": {}},
            since={"at": self.last_at, "position": self.last_position},
            detected_at={"at": at, "position": position},
            suggested_action="retrain",
            statistic=labels,
            threshold=None if labels is None else rule.labels,
            model=dict(models),
        )
        event = ControlEvent(
            id=f"{episode}-1-retrain",
            source=f"penstock/{self.pipeline}",
            type="penstock.retrain",
            subject=subject,
            time=rfc3339(at),
            data=data,
        )
        return self._asking(Request(topology.CONTROL_RETRAIN, event), rule, joins, **evidence)

    # -- performance and inputs -----------------------------------------------------------------------------------------------

    def claim(self, told: Request) -> Request:
        """What was found, as the definition's triggers have it: lost skill asks or is told, moved inputs propose or are told."""
        data = told.event.data
        if data.kind == "harm" and data.suggested_action == "retrain":
            rule = self._rule(OnPerformance)
            return self._told_only(told) if rule is None else self._asking(told, rule)
        if data.kind != "psi":
            return told
        if data.state == "resolved":
            self.proposed = None if self.proposed == data.episode else self.proposed
        rule = self._rule(OnInputs)
        if rule is None or data.state != "firing" or told.event.subject == "prediction":
            return told
        return self._propose(told, rule)

    def _told_only(self, told: Request) -> Request:
        """The definition wants no retrain for it: an alert, with the command."""
        reason = f"{told.event.data.reason}; the definition has no OnPerformance, so nothing is asked for"
        data = msgspec.structs.replace(told.event.data, suggested_action="none", reason=reason)
        event = msgspec.structs.replace(told.event, type="penstock.alert", data=data)
        return Request(topology.CONTROL_ALERTS, event)

    def _propose(self, told: Request, rule: OnInputs) -> Request:
        """Turn the note of a moved input into a request."""
        event, data = told.event, told.event.data
        asks = msgspec.structs.replace(
            event,
            id=event.id.removesuffix("-note") + "-retrain",
            type="penstock.retrain",
            data=msgspec.structs.replace(data, suggested_action="retrain", severity="warning"),
        )
        joins, self.proposed = self.proposed, self.proposed or data.episode
        return self._asking(Request(topology.CONTROL_RETRAIN, asks), rule, joins, proposes=not rule.acts)

    # -- all of them ----------------------------------------------------------------------------------------------------------

    def _asking(self, told: Request, rule: Trigger, joins: str | None = None, **evidence: Any) -> Request:
        """The request with its evidence and its command; where a retrain is under way, told as joining that one."""
        event, data = told.event, told.event.data
        running = next(iter(self.open_jobs), None)
        joins, window = running or joins, window_of(rule, self.window)
        fired = TriggerFired(
            kind=rule.kind,
            rule=repr(rule),
            window=window,
            labels=self.counts.learned - self.counted_from,
            after=self.last,
            after_position=self.last_position,
            joins=joins,
            **evidence,
        )
        reason = data.reason
        if joins is not None:
            what = (
                f"the retrain under way ({running})" if running else f"what was asked for already ({joins})"
            )
            reason += f"; it joins {what}"
        elif fired.proposes:
            reason += "; that alone does not say that the model is worse, so a retrain is only proposed"
        self.fired[
            rule.kind, "joined" if joins is not None else "proposed" if fired.proposes else "asked"
        ] += 1
        begins = (
            f"--from-position {data.since['position']}" if window == SINCE_ONSET else f"--window {window}"
        )
        data = msgspec.structs.replace(
            data,
            reason=reason,
            trigger=fired,
            suggested_action="none" if joins is not None else "retrain",
            command=""
            if joins
            else f'penstock retrain {self.pipeline} {begins} --reason "episode {data.episode}"',
        )
        return Request(told.topic, msgspec.structs.replace(event, data=data))

    def started(self, command_id: str, trigger: str, at: int, position: int) -> None:
        """A retrain has begun, whoever asked for it."""
        self.last, self.last_at, self.last_position = command_id, at, position
        self.begun[trigger if trigger in KINDS else "demand"] += 1
        self.counted_from, self.proposed = self.counts.learned, None
        self._count()

    def totals(self) -> dict[tuple[str, str], int]:
        """Retrains begun and triggers fired, by (trigger, outcome): begun, asked, joined or proposed."""
        return {**{(kind, "begun"): count for kind, count in self.begun.items()}, **self.fired}

    def shown(self) -> list[TriggerShown]:
        """Each trigger as it stands."""
        return [
            TriggerShown(
                kind=rule.kind,
                rule=str(rule),
                window=in_words(window_of(rule, self.window)),
                due_at=rule.after(self.clock) if isinstance(rule, OnSchedule) and self.clock else None,
                labels_missing=self.labels_due - self.counts.learned if isinstance(rule, OnLabels) else None,
                proposes=isinstance(rule, OnInputs) and not rule.acts,
            )
            for rule in self.rules
        ]
