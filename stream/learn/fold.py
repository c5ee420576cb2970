"""The fold: predict at the sample, learn at the label. Folding the samples log again gives the same model.

Laws of this file:
- State is a function of the log alone: no clock, no client, no randomness. Event time comes from the records and ticks.
- What changes the model stands in the log: a label, or a `Command`. Only a hold is taken at once, by rule, and reported.
- Every sample is predicted by champion, anchor, probationer, candidate and base rate when it arrives, and judged at its label.
- Repeats (after a crash upstream) are recognised by origin, repeated commands by id.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from typing import Any

from penstock.monitors.losses.drift import log_loss
from penstock.stream.definitions import Pipeline
from penstock.stream.learn import commands
from penstock.stream.learn.anchors import Anchor, Frozen, at_level
from penstock.stream.learn.drift import Watch
from penstock.stream.learn.events import live_model
from penstock.stream.learn.join import Join
from penstock.stream.learn.learner import Seen, learn, probability, vector
from penstock.stream.learn.records import FoldCounts, Outputs, Pending, Predicted, Replay, rules
from penstock.stream.messages import Command, Entry, Label, Origin, Recipe, Sample, Tick
from penstock.stream.models.digest import digest
from penstock.stream.models.version import Version, dump, restore
from penstock.stream.recipes import Lineages

BASE_RATE = 0.002
FIRST_PROBATION_LABELS = 2_000
REMEMBERED_COMMANDS = 512
LEAST_LEVEL = 1e-3
LEVEL_FADES = 0.002


class Fold:
    """One pipeline's model and everything that watches it.

    `step(position, entry, prepared)` folds one log record. A command that needs a model made outside says so through
    `needs(command)`; its result is then `prepared`. With `actions` off, commands and holds are ignored: what would have happened.
    """

    def __init__(self, pipeline: Pipeline, *, actions: bool = True, guard: bool = True) -> None:
        self.pipeline = pipeline
        self.actions = actions
        self.acting = actions
        self.recipe = pipeline.digest
        self.lineage = Lineages(self.recipe, pipeline.vector_names)
        self.rules = rules(pipeline, guard=guard)
        self.wait_ms = pipeline.label.wait_ms
        self.champion: Any = pipeline.model.clone()
        self.level = 0.0
        self.champion_since = 0
        self.version = "v0"
        self.version_count = 1
        self.why = "a fresh model"
        self.base = 0.5
        self.position = 0
        self.at = 0
        self.chain = b"\0" * 16
        self.seen = Seen()
        self.join: Join[Pending] = Join(self.wait_ms)
        self.applied: deque[str] = deque(maxlen=REMEMBERED_COMMANDS)
        self.refused: dict[str, str] = {}
        self.open_jobs: dict[str, tuple[int, list[tuple[int, int]]]] = {}
        self.episode_jobs: list[str] = []
        self.quarantined: list[tuple[int, int]] = []
        self.candidate: Frozen | None = None
        self.counts = FoldCounts()
        self.watch = Watch(pipeline, pipeline.vector_names, guard=guard and pipeline.guard)
        self.outputs = Outputs()
        self.trace: list[tuple[int, bool, float, float, int]] | None = None

    @property
    def pending(self) -> dict[str, Pending]:
        """The samples that wait for their label, by event id."""
        return self.join.pending

    # -- records -----------------------------------------------------------------------------------------------------------

    def step(self, position: int, entry: Entry, prepared: Any = None) -> None:
        """Fold the record at `position`; `prepared` is the model that `needs(entry)` asked for."""
        if isinstance(entry, Sample):
            self._sample(position, entry)
        elif isinstance(entry, Label):
            self._label(position, entry)
        elif isinstance(entry, Tick):
            self._tick(position, entry)
        elif isinstance(entry, Command):
            self._command(position, entry, prepared)
        else:
            self._recipe(position, entry)
        self.position = position + 1

    def _passes_over(self, origin: Origin, fits: bool = True) -> bool:
        """Whether a record is a repeat, says nothing here, or came late from a former recipe's worker: counted, no more."""
        if fits and self.seen.is_repeat(origin):
            self.counts.repeats += 1
            return True
        passes = self.lineage.names is None or not fits
        self.counts.unreadable += passes
        return passes

    def _sample(self, position: int, sample: Sample) -> None:
        counts, names = self.counts, self.lineage.names
        if self._passes_over(sample.origin, names is None or len(names) == len(sample.x)) or names is None:
            return
        counts.samples += 1
        x = vector(names, sample.x)
        p = probability(self.champion, x)
        if self.level:
            p = at_level(p, self.level)
        at = sample.at
        if at > self.at:
            self.at = at
        self.chain = hashlib.blake2b(self.chain + struct.pack("<qd", position, p), digest_size=16).digest()
        self.outputs.predictions.append(Predicted(sample.id, sample.key, at, p, self.version, position))
        waits = Pending(x, at, position, p, self.base)
        watch = self.watch
        if self.acting:
            anchor, probation, candidate = watch.book.current, watch.book.probation, self.candidate
            if anchor is not None:
                waits.anchor = (anchor.version, anchor.frozen.predict(x))
            if probation is not None:
                waits.probation = (probation.version, probation.frozen.predict(x))
            if candidate is not None:
                waits.candidate = (candidate.version, candidate.predict(x))
            watch.sample(at, position, sample.x, p)
        early = self.join.sample(sample.id, waits)
        if early is not None:
            self._join(position, max(at, early.at), waits, early.y)
        counts.unmatched, counts.duplicate_ids = self.join.unmatched, self.join.duplicate_ids

    def _label(self, position: int, label: Label) -> None:
        counts = self.counts
        if self._passes_over(label.origin):
            return
        counts.labels += 1
        if label.at > self.at:
            self.at = label.at
        waits = self.join.label(label.id, label.at, label.y)
        if waits is not None:
            self._join(position, label.at, waits, label.y)
        counts.unmatched = self.join.unmatched

    def _join(self, position: int, at: int, waits: Pending, y: bool) -> None:
        """Judge every prediction of this sample, then learn from it."""
        counts = self.counts
        counts.joined += 1
        champion, base = log_loss(waits.champion, y), log_loss(waits.base, y)
        counts.champion_loss += champion
        counts.base_loss += base
        if self.trace is not None:
            self.trace.append((waits.at, y, waits.champion, waits.base, waits.position))
        if not self.acting:
            self._learn(waits, y)
            return
        watch = self.watch
        if watch.hold is not None or self.is_quarantined(waits.position):
            counts.held_back += 1
            return
        self._judge(position, at, waits, y, champion, base)
        self._learn(waits, y)
        book = watch.book
        if book.probation is None and not watch.is_open and counts.learned >= FIRST_PROBATION_LABELS:
            self._enter_probation(position, at)

    def _learn(self, waits: Pending, y: bool) -> None:
        if not learn(self.champion, waits.x, y):
            self.counts.failed += 1
        self.base += BASE_RATE * (y - self.base)
        self.counts.learned += 1
        if self.level:
            self.level = 0.0 if abs(self.level) < LEAST_LEVEL else self.level * (1.0 - LEVEL_FADES)

    def _judge(self, position: int, at: int, waits: Pending, y: bool, champion: float, base: float) -> None:
        """Hand the paired losses to the watch, and let levels and the candidate follow the label."""
        watch, book = self.watch, self.watch.book
        anchor = probation = None
        current, trying = book.current, book.probation
        if current is not None and waits.anchor is not None and waits.anchor[0] == current.version:
            anchor = log_loss(waits.anchor[1], y)
            current.frozen.follow(waits.anchor[1], y)
        if trying is not None and waits.probation is not None and waits.probation[0] == trying.version:
            probation = log_loss(waits.probation[1], y)
            trying.frozen.follow(waits.probation[1], y)
        rival = None
        if self.candidate is not None:
            if waits.candidate is not None and waits.candidate[0] == self.candidate.version:
                rival = log_loss(waits.candidate[1], y)
            learn(self.candidate.model, waits.x, y)
        if (
            waits.position >= self.champion_since
        ):  # what another champion predicted says nothing about this one
            watch.label(at, position, champion, base, anchor, probation, rival)
        if self.candidate is not None and watch.candidate is None:
            self.candidate = None
            self._publish(self.why)
        if self.episode_jobs and not watch.wants_candidate:
            for job in self.episode_jobs:
                self.open_jobs.pop(job, None)
            self.episode_jobs.clear()

    def _tick(self, position: int, tick: Tick) -> None:
        """Move the clock to the least of the non-idle sources and let expire what waited too long."""
        default = self.pipeline.label.default
        for waits in self.join.tick(tick):
            if default is None:
                self.counts.expired += 1
            else:
                self._join(position, self.join.clock, waits, default)
        self.counts.unmatched = self.join.unmatched

    def _recipe(self, position: int, recipe: Recipe) -> None:
        """Another lineage may begin. Under another definition's, this fold only predicts and learns what it can read."""
        returns = self.lineage.turn(position, recipe, self.pipeline)
        self.acting = self.actions and not self.lineage.foreign
        if returns:
            self.champion_since, self.version = position, self.new_id()
            self.watch.models = self.watch.models._replace(champion=self.version)
            self._publish(f"goes on under recipe {self.recipe}, taught by the samples before it")

    # -- versions and commands ---------------------------------------------------------------------------------------------

    def _enter_probation(self, position: int, at: int) -> None:
        parent, self.version = self.version, self.new_id()
        payload = dump(self.champion)
        join_from = min((waits.position for waits in self.pending.values()), default=position)
        frozen = Frozen(self.version, restore(payload))
        self.watch.models = self.watch.models._replace(champion=self.version)
        anchor = Anchor(self.version, position + 1, join_from, at, self.counts.learned, payload, frozen)
        self.watch.book.enter(anchor)
        self.keep("probation", parent, anchor)
        self._publish(self.why)

    def new_id(self) -> str:
        """The next version's id; after other recipes with its own, since their folds counted from v0 as well."""
        self.version_count += 1
        return f"v{self.version_count - 1}{'.' + self.recipe[:6] if self.lineage.began else ''}"

    def keep(self, kind: str, parent: str | None, anchor: Anchor) -> None:
        """Hand a version to the shell for storing."""
        version = Version(
            id=anchor.version,
            pipeline=self.pipeline.name,
            parent=parent,
            kind=kind,
            position=anchor.position,
            join_from=anchor.join_from,
            at=anchor.at,
            labels=anchor.labels,
            recipe=self.recipe,
            digest=digest(anchor.frozen.model),
        )
        self.outputs.versions.append((version, anchor.payload))

    def _publish(self, why: str) -> None:
        """Say what is live, and why."""
        self.why = why
        self.outputs.live.append(live_model(self))

    def needs(self, entry: Entry) -> Replay | None:
        """The model this command needs from outside before `step`; None for everything else, and for what will be refused."""
        known = isinstance(entry, Command) and (entry.id in self.applied or entry.id in self.refused)
        if not isinstance(entry, Command) or not self.acting or known or self.watch.answers(entry):
            return None
        return commands.needs(self, entry)

    def _command(self, position: int, command: Command, prepared: Any) -> None:
        if not self.acting or command.id in self.applied or command.id in self.refused:
            return
        self.chain = hashlib.blake2b(self.chain + command.id.encode(), digest_size=16).digest()
        refusal = self.watch.answers(command) or commands.VERBS[command.verb](
            self, position, command, prepared
        )
        if refusal:
            self.refused[command.id] = refusal
            while len(self.refused) > REMEMBERED_COMMANDS:
                del self.refused[next(iter(self.refused))]
            self._publish(self.why)
        else:
            self.applied.append(command.id)
            self._publish(
                f"{command.verb}: {command.reason or 'no reason given'} ({command.by or 'unknown'})"
            )

    def quarantine(self, position: int) -> list[tuple[int, int]]:
        """Every interval of sample positions that must teach nothing, the open hold's up to `position` among them."""
        hold = self.watch.hold
        return [*self.quarantined, *([(hold.since_position, position)] if hold is not None else [])]

    def is_quarantined(self, position: int) -> bool:
        """Whether the sample at `position` fell into a hold that is over: its label must not be learned whenever it comes."""
        return any(start <= position < stop for start, stop in self.quarantined)

    def release(self, position: int, *, accept: bool = False) -> None:
        """End the hold, if there is one: the samples since its onset teach nothing, ever."""
        hold = self.watch.release(self.at, position, accept=accept)
        if hold is not None:
            self.quarantined.append((hold.since_position, position))

    # -- what it is --------------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """The live model's digest joined with the chain over every prediction and command since the log's start."""
        return f"{digest([self.champion, self.level])}-{self.chain.hex()[:16]}"
