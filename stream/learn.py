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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from monitors.losses import log_loss
from stream.anchors import Anchor, Frozen, at_level
from stream.definitions import DefinitionError, Pipeline
from stream.digest import digest
from stream.join import Join
from stream.messages import Command, Entry, Label, LiveModel, Recipe, Sample, Tick
from stream.train import Seen, learn, probability, vector
from stream.versions import Version, dump, restore
from stream.watch import Watch

BASE_RATE = 0.002
FIRST_PROBATION_LABELS = 2_000
REMEMBERED_COMMANDS = 512
LEAST_LEVEL = 1e-3
LEVEL_FADES = 0.002


class Pending:
    """A sample that waits for its label: its vector and every prediction made when it arrived."""

    __slots__ = ("anchor", "at", "base", "candidate", "champion", "position", "probation", "x")

    def __init__(self, x: dict[str, Any], at: int, position: int, champion: float, base: float) -> None:
        self.x = x
        self.at = at
        self.position = position
        self.champion = champion
        self.base = base
        self.anchor: tuple[str, float] | None = None
        self.probation: tuple[str, float] | None = None
        self.candidate: tuple[str, float] | None = None


class Predicted(NamedTuple):
    """One prediction to publish."""

    id: str
    key: str
    at: int
    p: float
    version: str
    position: int


class Replay(NamedTuple):
    """What a command needs from outside before it can be stepped: `version`'s model (None: a fresh one), trained on
    [learn_from, the command) with the join read from `join_from`, quarantined intervals left out."""

    version: str | None
    payload: bytes | None
    join_from: int
    learn_from: int


@dataclass
class FoldCounts:
    """Everything that became of samples and labels."""

    samples: int = 0
    labels: int = 0
    joined: int = 0
    learned: int = 0
    held_back: int = 0
    expired: int = 0
    unmatched: int = 0
    repeats: int = 0
    duplicate_ids: int = 0
    failed: int = 0
    champion_loss: float = 0.0
    base_loss: float = 0.0


@dataclass
class Outputs:
    """What one or more steps produced, in order, for the shell to write."""

    predictions: list[Predicted] = field(default_factory=list)
    versions: list[tuple[Version, bytes]] = field(default_factory=list)
    live: list[LiveModel] = field(default_factory=list)


class Fold:
    """One pipeline's model and everything that watches it.

    `step(position, entry, prepared)` folds one log record. A command that needs a model made outside says so through
    `needs(command)`; its result is then `prepared`. With `actions` off, commands and holds are ignored: what would have happened.
    """

    def __init__(self, pipeline: Pipeline, *, actions: bool = True, guard: bool = True) -> None:
        self.pipeline = pipeline
        self.actions = actions
        self.names: Sequence[str] = pipeline.vector_names
        self.recipe = pipeline.digest
        self.wait_ms = pipeline.label.wait_ms
        self.champion: Any = pipeline.model.clone()
        self.level = 0.0
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
        self.quarantined: list[tuple[int, int]] = []
        self.candidate: Frozen | None = None
        self.counts = FoldCounts()
        self.watch = Watch(pipeline, list(self.names), guard=guard and pipeline.guard)
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
            self._recipe(entry)
        self.position = position + 1

    def _sample(self, position: int, sample: Sample) -> None:
        counts = self.counts
        if self.seen.is_repeat(sample.origin):
            counts.repeats += 1
            return
        counts.samples += 1
        x = vector(self.names, sample.x)
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
        if self.actions:
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
        if self.seen.is_repeat(label.origin):
            counts.repeats += 1
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
        if not self.actions:
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
        watch.label(at, position, champion, base, anchor, probation, rival)
        if self.candidate is not None and watch.candidate is None:
            self.candidate = None
            self._publish(self.why)

    def _tick(self, position: int, tick: Tick) -> None:
        """Move the clock to the least of the non-idle sources and let expire what waited too long."""
        default = self.pipeline.label.default
        for waits in self.join.tick(tick):
            if default is None:
                self.counts.expired += 1
            else:
                self._join(position, self.join.clock, waits, default)
        self.counts.unmatched = self.join.unmatched

    def _recipe(self, recipe: Recipe) -> None:
        """A new lineage: vectors after this follow another order, so nothing that waits may mix with them."""
        if recipe.digest != self.recipe:
            raise WrongRecipe(recipe.digest, self.recipe)
        self.names = recipe.inputs

    # -- versions and commands ---------------------------------------------------------------------------------------------

    def _enter_probation(self, position: int, at: int) -> None:
        parent, self.version = self.version, self._new_id()
        payload = dump(self.champion)
        join_from = min((waits.position for waits in self.pending.values()), default=position)
        frozen = Frozen(self.version, restore(payload))
        anchor = Anchor(self.version, position + 1, join_from, at, self.counts.learned, payload, frozen)
        self.watch.book.enter(anchor)
        self._keep("probation", parent, anchor)
        self._publish(self.why)

    def _new_id(self) -> str:
        self.version_count += 1
        return f"v{self.version_count - 1}"

    def _keep(self, kind: str, parent: str | None, anchor: Anchor) -> None:
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
        book, hold = self.watch.book, self.watch.hold
        live = LiveModel(
            pipeline=self.pipeline.name,
            version=self.version,
            why=why,
            at=self.at,
            position=self.position,
            recipe=self.recipe,
            held=hold is not None,
            held_since=hold.since_at if hold is not None else None,
            anchor=book.current.version if book.current else None,
            candidate=self.candidate.version if self.candidate else None,
            anchors=[anchor.version for anchor in book.anchors],
            applied=list(self.applied)[-32:],
            refused=dict(list(self.refused.items())[-32:]),
        )
        self.outputs.live.append(live)

    def needs(self, entry: Entry) -> Replay | None:
        """The model this command needs from outside before `step`; None for everything else."""
        if not isinstance(entry, Command) or not self.actions or entry.id in self.applied or entry.id in self.refused:
            return None
        if entry.verb == "adopt":
            return Replay(entry.version, None, entry.from_position or 0, entry.trained_to or 0)
        if entry.verb != "rollback":
            return None
        anchor = self._target(entry)
        if anchor is None:
            return Replay(entry.version, None, -1, -1)
        if self.watch.hold is None:
            return None
        return Replay(anchor.version, anchor.payload, anchor.join_from, anchor.position)

    def _target(self, command: Command) -> Anchor | None:
        """The kept version a rollback names, or without a name the newest one born before its onset."""
        book = self.watch.book
        if command.version is not None:
            return book.find(command.version)
        return book.before(self.position if command.from_position is None else command.from_position)

    def _command(self, position: int, command: Command, prepared: Any) -> None:
        if not self.actions or command.id in self.applied or command.id in self.refused:
            return
        self.chain = hashlib.blake2b(self.chain + command.id.encode(), digest_size=16).digest()
        refusal = self.watch.answers(command) or getattr(self, f"_do_{command.verb}")(position, command, prepared)
        if refusal:
            self.refused[command.id] = refusal
            while len(self.refused) > REMEMBERED_COMMANDS:
                del self.refused[next(iter(self.refused))]
            self._publish(self.why)
        else:
            self.applied.append(command.id)
            self._publish(f"{command.verb}: {command.reason or 'no reason given'} ({command.by or 'unknown'})")

    def _do_hold(self, position: int, command: Command, prepared: Any) -> str | None:
        return self.watch.hold_by_command(self.at, position, command)

    def _do_resume(self, position: int, command: Command, prepared: Any) -> str | None:
        if self.watch.hold is None:
            return "nothing is held"
        self._release(position)
        return None

    def _do_rollback(self, position: int, command: Command, prepared: Any) -> str | None:
        anchor = self._target(command)
        if prepared is None and anchor is None:
            return f"version {command.version!r} is not known" if command.version else "no version was born before the onset"
        self.champion = prepared if prepared is not None else restore(anchor.payload)  # type: ignore[union-attr]
        self.version = anchor.version if anchor is not None else command.version or self.version
        # A version restored as it was knows yesterday's level of the labels; the anchor's level followed them meanwhile. The champion
        # takes it along and lets it fade as it learns the level itself.
        follows = anchor is not None and anchor is self.watch.book.current and prepared is None
        self.level = anchor.frozen.level if follows and anchor is not None else 0.0
        self.candidate = None
        self.open_jobs.clear()
        self._release(position)
        onset = command.from_position if command.from_position is not None else position
        self.watch.replaced(self.version, self.at, position, f"rolled back to {self.version}", onset)
        return None

    def _do_retrain(self, position: int, command: Command, prepared: Any) -> str | None:
        if self.open_jobs:
            return f"a retrain is under way ({next(iter(self.open_jobs))})"
        self.open_jobs[command.id] = (command.from_position or 0, self.quarantine(position))
        return None

    def _do_adopt(self, position: int, command: Command, prepared: Any) -> str | None:
        if self.open_jobs.pop(command.id.removeprefix("adopt-"), None) is None:
            return "its retrain was overtaken by another decision"
        if prepared is None:
            return f"version {command.version!r} could not be fetched or its digest differs"
        version = self._new_id()
        self.candidate = Frozen(version, prepared)
        payload = dump(prepared)
        anchor = Anchor(version, position, position, self.at, self.counts.learned, payload, Frozen(version, restore(payload)))
        self._keep("candidate", command.version, anchor)
        self.watch.candidate_started(version)
        return None

    def _do_promote(self, position: int, command: Command, prepared: Any) -> str | None:
        if self.candidate is None:
            return "there is no candidate"
        if command.version not in (None, self.candidate.version):
            return f"the candidate is {self.candidate.version}, not {command.version}"
        self.champion, self.version = self.candidate.model, self.candidate.version
        self.level = 0.0
        self.candidate = None
        self.watch.replaced(self.version, self.at, position, f"promoted {self.version}")
        return None

    def _do_accept(self, position: int, command: Command, prepared: Any) -> str | None:
        self.watch.accept(self.at, position)
        return None

    def quarantine(self, position: int) -> list[tuple[int, int]]:
        """Every interval of sample positions that must teach nothing, the open hold's up to `position` among them."""
        hold = self.watch.hold
        return [*self.quarantined, *([(hold.since_position, position)] if hold is not None else [])]

    def is_quarantined(self, position: int) -> bool:
        """Whether the sample at `position` fell into a hold that is over: its label must not be learned whenever it comes."""
        return any(start <= position < stop for start, stop in self.quarantined)

    def _release(self, position: int) -> None:
        hold = self.watch.release()
        if hold is not None:
            self.quarantined.append((hold.since_position, position))

    # -- what it is --------------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """The live model's digest joined with the chain over every prediction and command since the log's start."""
        return f"{digest([self.champion, self.level])}-{self.chain.hex()[:16]}"


class WrongRecipe(DefinitionError):
    """The samples log was written under another definition."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(
            f"the samples log continues under recipe {found}, and the definition file's recipe is {wanted}: "
            f"run with the definition that featurize runs with, or `penstock reset` to start over"
        )
