"""Which segment carries what was found, and what is found in one segment only.

Laws of this file:
- A function of the log alone, like all that watches. Per record it costs the places of its values; sums are made by block.
- A fifth of the budget of alarms is that of the segments' tests, the rest that of the tests of the whole (`SHARE`); guards, which
  have no test by segment, keep all of theirs. So nobody is woken more often than without segments.
- What one segment shows is told only while the whole shows nothing of the kind, and of the segments that show it at once only the
  first: the others are where the same records are counted again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from penstock.monitors.episodes import EpisodeChange, Transition
from penstock.monitors.inputs.guard import RangeGuard
from penstock.monitors.losses.drift import LossMonitor
from penstock.monitors.segments.blame import Blamed
from penstock.monitors.segments.losses import SegmentLosses
from penstock.monitors.segments.places import OTHER, Places, Value
from penstock.monitors.segments.stability import SegmentStability
from penstock.monitors.segments.violations import BLOCK_RECORDS, SegmentRecords
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.watching.watcher import Finding
from penstock.stream.messages import Sample
from penstock.stream.segment_blamed import SegmentBlamed

SHARE = 0.2
"""The segments' part of the budget of alarms. A test's delay grows with the logarithm of one over its part: so the whole, which
sees most of what happens, waits hardly longer than without segments, and a segment little longer than with a half."""


def budget_of_whole(pipeline: Pipeline) -> float:
    """False alarms a year that the tests of the whole stream may raise, of each kind."""
    return pipeline.alarms_per_year * (1 - SHARE) if pipeline.segments else pipeline.alarms_per_year


def budget_of_segments(pipeline: Pipeline) -> float:
    """False alarms a year that the tests of all segments together may raise, of each kind; 0 without segments."""
    return pipeline.alarms_per_year * SHARE if pipeline.segments else 0.0


class SegmentWatch:
    """A pipeline's segments: their values, their losses, and their inputs. `placed` says where the newest sample belongs."""

    def __init__(self, pipeline: Pipeline, names: Sequence[str]) -> None:
        carried, inputs = pipeline.carried, list(pipeline.inputs)
        self._recipes = frozenset({"", pipeline.digest})
        self.carried = len(carried)
        self._only_carried = self.carried == len(pipeline.segments)
        self._from = [
            (False, carried.index(name)) if name in carried else (True, inputs.index(name))
            for name in pipeline.segments
        ]
        self.whole = budget_of_whole(pipeline)
        budget = budget_of_segments(pipeline)
        self.places = Places(pipeline.segments)
        self.losses = SegmentLosses(self.places.count, budget)
        self.records = SegmentRecords(self.places)
        self.stability = SegmentStability([*names, "prediction"], self.places.count, budget)
        self.placed: tuple[int, ...] = ()
        self.told: str | None = None

    # -- records --------------------------------------------------------------------------------------------------------------

    def sample(self, at: int, position: int, sample: Sample, guard: RangeGuard | None) -> tuple[Value, ...]:
        """A sample came, and the guard has looked at it; its values."""
        carried = sample.segments
        if self.carried and (
            carried is None or len(carried) != self.carried or sample.recipe not in self._recipes
        ):
            self.placed = ()  # from a worker of a definition with other segments
            return ()
        if carried is not None and self._only_carried:
            values = tuple(carried)
        else:
            x = sample.x
            values = tuple([(x if of_x else carried or x)[place] for of_x, place in self._from])
        self.placed = self.places.take(values, at)
        rows = self.records.open
        rows.append(self.placed)
        if len(rows) >= BLOCK_RECORDS:
            self.records.close(at)
        if guard is not None and (guard.outside or guard.nulls):
            self.records.violates(position, "range", guard.outside, self.placed)
            self.records.violates(position, "nulls", guard.nulls, self.placed)
        if self.places.forgotten:
            for one in (self.losses, self.records, self.stability):
                one.forget(self.places.forgotten)
            self.places.forgotten.clear()
        return values

    def inputs(self, at: int, position: int, x: Sequence[Any], p: float) -> list[tuple[int, Transition]]:
        """The newest sample's inputs and prediction, where its values are known: what moved, by place."""
        return self.stability.update(at, position, self.placed, x, p) if self.placed else []

    def label(
        self, at: int, position: int, values: tuple[Value, ...], live: float, base: float, whole: LossMonitor
    ) -> Sequence[Finding]:
        """A sample with these values met its label, and the monitor of the whole has heard it: what segments' tests found."""
        if not values or not self.losses.update(at, position, self.places.of(values), live, base, whole.gap):
            return ()
        found = self.losses.judge(whole.labels_per_year)
        return self.lost(found, whole_fires=whole.firing) if found else ()

    # -- what is told ---------------------------------------------------------------------------------------------------------

    def lost(self, found: Sequence[tuple[int, Transition]], whole_fires: bool) -> list[Finding]:
        """What segments' tests of the loss found, in words; only ends while the whole shows it, or another segment."""
        told = []
        for place, change in found:
            subject = self.name(place)
            if change.state == "resolved":
                self.told = None if self.told == subject else self.told
                reason = f"the skill is back where {subject}"
            elif change.state == "suspected" or whole_fires or self.told not in (None, subject):
                continue
            else:
                self.told = subject
                reason = f"the live prediction lost skill over the base rate where {subject}; the whole does not show it"
            verb = "note" if change.state == "resolved" else "warn"
            told.append(Finding(replace(change, subject=subject), verb, reason))  # type: ignore[arg-type]
        return told

    def moved(self, found: Sequence[tuple[int, Transition]], whole_moved: Collection[str]) -> list[Finding]:
        """What moved in one segment only, in words; nothing but ends of what moved in the whole as well."""
        told = []
        for place, change in found:
            if change.state == "firing" and change.subject in whole_moved:
                continue
            subject = f"{change.subject} where {self.name(place)}"
            what = (
                "moved, and that of the whole did not" if change.state == "firing" else "is as before again"
            )
            told.append(
                Finding(replace(change, subject=subject), "note", f"the distribution of {subject} {what}")
            )
        return told

    def attributed(self, change: EpisodeChange) -> tuple[EpisodeChange, SegmentBlamed | None]:
        """A finding with the budget that its test had, and the segment that carries it, if one does."""
        transition = change.transition
        if (
            transition.monitor in ("harm", "lead", "adwin", "psi")
            and "budget_per_year" not in transition.detail
        ):
            detail = {**transition.detail, "budget_per_year": self.whole}
            change = replace(change, transition=replace(transition, detail=detail))
        found = self._carrier(transition)
        if found is None:
            return change, None
        blamed, labels = found
        field, value = self.places.named(blamed.place)
        share, usual = round(blamed.share, 4), round(blamed.usual, 4)
        return change, SegmentBlamed(field=field, value=value, share=share, labels=labels, usual=usual)

    def _carrier(self, transition: Transition) -> tuple[Blamed, int] | None:
        monitor, since = transition.monitor, transition.since_position
        if monitor in ("range", "nulls"):
            return self.records.carries(monitor, transition.subject, since)
        if transition.state == "resolved":
            return None
        if monitor == "psi":
            return self.stability.carries(transition.subject.partition(" where ")[0])
        if monitor in ("harm", "adwin", "lead", "segment"):
            return self.losses.carries(since, "lead" if monitor == "lead" else "harm")
        return None

    def name(self, place: int) -> str:
        """A segment in words: carrier is UA."""
        field, value = self.places.named(place)
        return f"{field} is {shown(value)}"

    def restart(self, at: int, position: int, why: str) -> list[Finding]:
        """Another model is in place: what is open about the former is over."""
        return self.lost(self.losses.restart(at, position, why), whole_fires=False)


def shown(value: Value) -> str:
    """A segment's value for people.

    >>> [shown(value) for value in ("UA", None, True, 3.0, OTHER)]
    ['UA', 'null', 'true', '3', 'another value']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    return "another value" if value == OTHER else value


def told_of(blamed: SegmentBlamed) -> str:
    """The segment that carries a finding, in words to append to a reason.

    >>> told_of(SegmentBlamed(field="carrier", value="UA", share=0.93, labels=812, usual=0.17))
    '; carrier UA has 93% of it (17% of all records)'
    """
    return f"; {blamed.field} {shown(blamed.value)} has {blamed.share:.0%} of it ({blamed.usual:.0%} of all records)"
