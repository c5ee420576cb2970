"""What the fold knows: the experts and their weights, the samples that wait, the commands carried out, what is to be published.

Laws of this file:
- A function of the log alone, like the fold that owns it. Records change it through `fold`, commands through `commands`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.drift import DriftRules
from penstock.stream.learn.expert import Expert
from penstock.stream.learn.experts import Experts
from penstock.stream.learn.history import History
from penstock.stream.learn.join import Join
from penstock.stream.learn.joins import join_of
from penstock.stream.learn.learner import Seen
from penstock.stream.learn.records import Commit, FoldCounts, Job, Outputs, Pending, Traced, rules
from penstock.stream.learn.retrain_triggers import RetrainTriggers
from penstock.stream.learn.suspicion import Suspicion
from penstock.stream.learn.tasks import task_of
from penstock.stream.learn.uncertainty import Uncertainty
from penstock.stream.messages import ExpertShown, LiveModel
from penstock.stream.models.digest import digest
from penstock.stream.models.retention import Retention
from penstock.stream.models.version import PENSTOCK, PREVIOUS, RULE, Measured, Version, dump
from penstock.stream.recipes import RecipeHistory

REMEMBERED_COMMANDS = 512
SHOWN_COMMANDS = 32
PUBLIC = (
    "pipeline", "version", "why", "at", "position", "recipe", "committed", "previous", "weight", "pinned", "alone", "experts",
    "triggers", "retraining",
)  # fmt: skip
"""The fields of a `LiveModel` that the public document of the model holds as well."""
FRESH = "v0"
"""The id of the first model, which learns from every label and is never touched."""


class FoldState:
    """One pipeline's experts and everything that watches them. With `actions` off there is the first model alone."""

    def __init__(
        self, pipeline: Pipeline, *, actions: bool = True, guard: bool = True, lineage: str = ""
    ) -> None:
        self.pipeline = pipeline
        self.lineage = lineage
        self.actions = actions
        self.acting = actions
        self.recipe = pipeline.digest
        self.recipes = RecipeHistory(self.recipe, pipeline.vector_names)
        self.rules = rules(pipeline, guard=guard)
        self.version_count = 1
        self.task = task_of(pipeline)
        self.experts = Experts(self.fresh(), FRESH, pipeline.experts, self.task)
        self.alone = pipeline.approval or not actions
        self.pinned = False
        self.replaced_at = 0
        self.suspicion = Suspicion()
        asked = pipeline.interval is not None or pipeline.calibrate
        self.uncertainty = (
            Uncertainty(pipeline.kind, pipeline.interval, pipeline.calibrate) if asked else None
        )
        self.why = "the first model"
        self.commit = Commit(FRESH, RULE, self.why, 0, 0)
        self.base = self.task.first_base
        self.position = 0
        self.at = 0
        self.chain = b"\0" * 16
        self.seen = Seen()
        self.sound = 0
        self.answered: dict[str, Any] | None = None
        self.applied: deque[str] = deque(maxlen=REMEMBERED_COMMANDS)
        self.refused: dict[str, str] = {}
        self.open_jobs: dict[str, Job] = {}
        self.quarantined: list[tuple[int, int]] = []
        self.counts = FoldCounts()
        self.join: Join[Pending] = join_of(pipeline.label_rule, self.counts)
        self.triggers = RetrainTriggers(pipeline, self.counts, self.open_jobs)
        watched = guard and bool(pipeline.guard)
        self.drift = DriftRules(pipeline, pipeline.vector_names, guard=watched, triggers=self.triggers)
        self.retention = Retention()
        self.history = History(self.task)
        self.outputs = Outputs()
        self.trace: list[Traced] | None = None

    def fresh(self) -> Any:
        """A new model that knows nothing."""
        return self.task.fresh(self.pipeline.model)

    def name_models(self) -> None:
        """Let what is told from here on name who leads and who is committed."""
        self.drift.models = {
            "leader": self.experts.leader.version,
            "committed": self.experts.committed.version,
        }

    @property
    def live(self) -> Expert:
        """Whose version predictions carry: who leads, or with approval or a pin the committed one, which predicts alone."""
        return self.experts.committed if self.alone or self.pinned else self.experts.leader

    @property
    def version(self) -> str:
        """The version of the live expert."""
        return self.live.version

    @property
    def pending(self) -> dict[str, Pending]:
        """The samples that wait for their label, by event id."""
        return self.join.pending

    def measures(self) -> dict[str, float]:
        """The running figures of the live prediction by name: those of its task, and of how sure it says to be."""
        return {
            **self.task.measures(),
            **({} if self.uncertainty is None else self.uncertainty.measures()),
            **self.drift.watchers.measures(),
        }

    def new_id(self) -> str:
        """The next version's id. It ends in the fold's lineage, since other folds of this log count from v0 as well."""
        self.version_count += 1
        tag = self.lineage or (self.recipe[:6] if self.recipes.began else "")
        return f"v{self.version_count - 1}{'.' if tag else ''}{tag}"

    def keep(
        self, expert: Expert, kind: str, why: str, *, author: str = RULE, of: Expert | None = None
    ) -> None:
        """Hand an expert as it is now to the shell for storing; how well it did is what `of` did, where it is a copy of that."""
        oldest = self.join.oldest()
        version = Version(
            id=expert.version,
            pipeline=self.pipeline.name,
            parent=expert.parent,
            kind=kind,
            position=self.position,
            join_from=self.position if oldest is None else oldest,
            at=self.at,
            labels=expert.taught,
            recipe=self.recipe,
            digest=digest(expert.model),
            why=why,
            penstock=PENSTOCK,
            author=author,
            learned_from=expert.learned_from,
            measured=self.measured(of or expert),
        )
        self.outputs.versions.append((version, expert.payload or dump(expert.model)))
        self.retention.add(version.id, self.at)

    def measured(self, expert: Expert) -> Measured | None:
        """How an expert did, beside the base rate and the live prediction, since it takes part."""
        experts = self.experts
        judged = experts.judged - expert.judged_before
        if not judged:
            return None
        return Measured(
            labels=judged,
            loss=experts.losses[experts.all.index(expert)] / judged,
            base_loss=(experts.losses[0] - expert.base_before) / judged,
            live_loss=(experts.live_loss - expert.live_before) / judged,
            start=expert.born_position,
            stop=self.position,
        )

    def note_commit(self, by: str, why: str, at: int, position: int) -> None:
        """Note who had the committed version put in place, and keep it as it is now; a frozen one is kept already."""
        one = self.experts.committed
        self.commit = Commit(one.version, by, why, at, position)
        if one.learns:
            self.keep(one, "committed", why, author=by)

    def drop_versions(self) -> None:
        """Name the versions that are kept no longer."""
        self.outputs.dropped += self.retention.drop(self.at, self.in_use())

    def in_use(self) -> dict[str, str]:
        """The versions that are kept however old they are, each with what it is now: live, committed, or its kind."""
        states: dict[str, str] = {one.version: one.kind for one in self.experts.models}
        if self.experts.previous:
            states.setdefault(self.experts.previous, PREVIOUS)
        states[self.experts.committed.version] = "committed"
        states[self.version] = "live"
        return states

    def publish(self, why: str, change: str = "") -> None:
        """Say what is live, why this version is, and what changed just now."""
        self.why = why
        self.outputs.live.append(self.live_model(change))

    def live_model(self, change: str = "") -> LiveModel:
        """What is live now, and why."""
        experts, hold = self.experts, self.drift.hold
        weights = experts.weights()
        return LiveModel(
            pipeline=self.pipeline.name,
            version=self.version,
            why=self.why,
            change=change,
            at=self.at,
            position=self.position,
            recipe=self.recipe,
            held=hold is not None,
            held_since=hold.since_at if hold is not None else None,
            committed=experts.committed.version,
            previous=experts.previous,
            weight=weights[self.version],
            pinned=self.pinned,
            alone=self.alone or self.pinned,
            experts=[
                ExpertShown(
                    version=one.version,
                    kind=one.kind,
                    weight=round(weights[one.version], 6),
                    born_at=one.born_at,
                    born_position=one.born_position,
                    parent=one.parent,
                    learned=one.taught,
                    judged=judged,
                    loss=loss / judged if judged else None,
                    live_loss=(experts.live_loss - one.live_before) / judged if judged else None,
                )
                for one, loss in zip(experts.all, experts.losses, strict=True)
                for judged in [experts.judged - one.judged_before]
            ],
            applied=list(self.applied)[-SHOWN_COMMANDS:],
            refused=dict(list(self.refused.items())[-SHOWN_COMMANDS:]),
            triggers=self.triggers.shown(),
            retraining=list(self.open_jobs),
        )

    def document(self) -> dict[str, Any]:
        """What any service may read of what is live, with the model's digest, the labels learned, and what versions are now."""
        live = self.live_model()
        shown = {name: getattr(live, name) for name in PUBLIC}
        return {
            **shown,
            "commit": self.commit._asdict(),
            "digest": self.digest(),
            "labels": self.counts.learned,
            "states": self.in_use(),
        }

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
        return f"{digest([self.live.model, *self.experts.gate.weights])}-{self.chain.hex()[:16]}"
