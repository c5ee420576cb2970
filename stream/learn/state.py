"""What the fold knows: the champion and its rivals, the samples that wait, the commands carried out, what is to be published.

Laws of this file:
- A function of the log alone, like the fold that owns it. Records change it through `fold`, commands through `commands`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.anchors import Anchor, Frozen
from penstock.stream.learn.drift import DriftRules
from penstock.stream.learn.join import Join
from penstock.stream.learn.learner import Seen
from penstock.stream.learn.records import FoldCounts, Outputs, Pending, rules
from penstock.stream.messages import LiveModel
from penstock.stream.models.digest import digest
from penstock.stream.models.retention import Retention
from penstock.stream.models.version import Version
from penstock.stream.recipes import RecipeHistory

REMEMBERED_COMMANDS = 512
SHOWN_COMMANDS = 32


class FoldState:
    """One pipeline's model and everything that watches it. With `actions` off, commands and holds are ignored."""

    def __init__(self, pipeline: Pipeline, *, actions: bool = True, guard: bool = True) -> None:
        self.pipeline = pipeline
        self.actions = actions
        self.acting = actions
        self.recipe = pipeline.digest
        self.recipes = RecipeHistory(self.recipe, pipeline.vector_names)
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
        self.drift = DriftRules(pipeline, pipeline.vector_names, guard=guard and pipeline.guard)
        self.retention = Retention()
        self.outputs = Outputs()
        self.trace: list[tuple[int, bool, float, float, int]] | None = None

    @property
    def pending(self) -> dict[str, Pending]:
        """The samples that wait for their label, by event id."""
        return self.join.pending

    def new_id(self) -> str:
        """The next version's id; after other recipes with its own, since their folds counted from v0 as well."""
        self.version_count += 1
        return f"v{self.version_count - 1}{'.' + self.recipe[:6] if self.recipes.began else ''}"

    def keep(self, kind: str, parent: str | None, anchor: Anchor, why: str) -> None:
        """Hand a version to the shell for storing, and name those that are kept no longer now that it is there."""
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
            why=why,
        )
        self.outputs.versions.append((version, anchor.payload))
        self.retention.add(version.id, self.at)
        self.outputs.dropped += self.retention.drop(self.at, self.in_use())

    def in_use(self) -> dict[str, str]:
        """The versions that are kept however old they are, each with its state: live, candidate, on probation or anchor."""
        anchors = self.drift.anchors
        states = {anchor.version: "anchor" for anchor in anchors.kept}
        for version, state in ((anchors.probation, "on probation"), (self.candidate, "candidate")):
            if version is not None:
                states[version.version] = state
        states[self.version] = "live"
        return states

    def publish(self, why: str) -> None:
        """Say what is live, and why."""
        self.why = why
        self.outputs.live.append(self.live_model())

    def live_model(self) -> LiveModel:
        """What is live now, and why."""
        anchors, hold = self.drift.anchors, self.drift.hold
        return LiveModel(
            pipeline=self.pipeline.name,
            version=self.version,
            why=self.why,
            at=self.at,
            position=self.position,
            recipe=self.recipe,
            held=hold is not None,
            held_since=hold.since_at if hold is not None else None,
            anchor=anchors.current.version if anchors.current else None,
            candidate=self.candidate.version if self.candidate else None,
            anchors=[anchor.version for anchor in anchors.kept],
            applied=list(self.applied)[-SHOWN_COMMANDS:],
            refused=dict(list(self.refused.items())[-SHOWN_COMMANDS:]),
        )

    def quarantine(self, position: int) -> list[tuple[int, int]]:
        """Every interval of sample positions that must teach nothing, the open hold's up to `position` among them."""
        hold = self.drift.hold
        return [*self.quarantined, *([(hold.since_position, position)] if hold is not None else [])]

    def is_quarantined(self, position: int) -> bool:
        """Whether the sample at `position` fell into a hold that is over: its label must not be learned whenever it comes."""
        return any(start <= position < stop for start, stop in self.quarantined)

    def release(self, position: int, *, accept: bool = False) -> None:
        """End the hold, if there is one: the samples since its onset teach nothing, ever."""
        hold = self.drift.release(self.at, position, accept=accept)
        if hold is not None:
            self.quarantined.append((hold.since_position, position))

    # -- what it is --------------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """The live model's digest joined with the chain over every prediction and command since the log's start."""
        return f"{digest([self.champion, self.level])}-{self.chain.hex()[:16]}"
