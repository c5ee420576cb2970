"""One pipeline as it is served: the newest replica, features as of now, and answers made of both.

Laws of this file:
- A replica is exchanged between two requests, never within one: all answers of a request come from one position.
- Nothing is kept from one request to the next. What cannot be answered is a `Refusal`, with a status and a whole sentence.
- No clock: whoever asks says what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from penstock.features.engine.compute import CompiledView, State
from penstock.features.read.served import Entity, Features
from penstock.features.units import StoreRefused, StoreUnavailable
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.replica import Answered, Replica
from penstock.stream.models.version import BadEnvelope
from penstock.stream.serve.answers import EntityFeatures, FeaturesFound, PipelineShown, Prediction, Problem
from penstock.stream.serve.asking import Asking, Away, Refusal, refuse_behind
from penstock.stream.serve.by_version import Named, find
from penstock.stream.serve.circuit import Circuit
from penstock.stream.serve.shown import shown
from penstock.stream.serve.vectors import Asked, Decoded, Seen, Vectors

__all__ = ["Asking", "Refusal", "ServedPipeline"]


PAST = (
    "an entity of this event had its last event after the moment asked for (as_of), and the state of the past is not kept: "
    "`penstock score --features history` scores rows as of their own times, `penstock explain` explains a past prediction"
)
SILENT = (
    "none of the models gave an answer to this event: they raise, or say what is no number; see penstock_model_failures_total of "
    "the learn role"
)


class Answering(NamedTuple):
    """What answers: learn's newest models, and the challenger as it is beside them, if there is one."""

    replica: Replica | None
    challenger: Named | None = None


class Reads(Protocol):
    """What is needed of a `FeatureReader` that has the definitions."""

    def compiled(self, view: str) -> CompiledView:
        """What evaluates the states of a view."""

    def states(self, wanted: Sequence[tuple[str, str]]) -> list[State | None]:
        """Private states."""

    def read(self, wanted: Sequence[tuple[str, Entity]], at_ms: int | None = None) -> list[Features]:
        """Features as of a moment."""


class ServedPipeline:
    """A pipeline, its reader of features, where its replicas come from and how its kept versions are opened.

    `newest` gives a replica when there is another one than at its last call, else None; it may raise what Redis raises. `version`
    gives the id of a kept version, its model, and the offset before which it had learned everything. `clock_s` is what slow
    reads are told by; without it there are none.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        reads: Reads,
        newest: Callable[[], Replica | None],
        version: Callable[[str], tuple[str, Any, int]] | None = None,
        explain: Callable[[Replica, Answered, Any], dict[str, Any]] | None = None,
        clock_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.pipeline, self.reads, self.newest = pipeline, reads, newest
        self.version, self.explain = version, explain
        self.vectors = Vectors(pipeline, reads.compiled)
        self.answering = Answering(None)
        self.why = "learn has stored no models to answer with yet: see that its role runs"
        self.challenger_why = ""
        first = [(view.name, "") for view in pipeline.views[:1]]
        self.circuit = Circuit(lambda: reads.states(first), clock_s)

    @property
    def replica(self) -> Replica | None:
        """Learn's newest models that came here."""
        return self.answering.replica

    # -- models ------------------------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Look for a newer replica; whether there was one. What is wrong is kept in `why`, and the last one goes on answering."""
        try:
            found = self.newest()
        except (StoreRefused, StoreUnavailable, BadEnvelope) as error:
            self.why = str(error)
            return False
        replica = self.replica if found is None else found
        if replica is not None and self.pipeline.serving.share:
            self.answering = Answering(replica, self._challenger(replica))
        elif found is not None:
            self.answering = Answering(found)
        if found is None:
            return False
        self.why = ""
        return True

    def _challenger(self, replica: Replica) -> Named | None:
        """The challenger as it is now; while it cannot be had, the champion answers for it, and `challenger_why` says why."""
        try:
            found = find(self.pipeline.serving.challenger, replica, self.version)
        except Away:  # the one that is open goes on
            return self.answering.challenger
        except Refusal as error:
            self.challenger_why = str(error)
            return None
        self.challenger_why = ""
        return found

    def open_version(self, wanted: str) -> Named:
        """A version by id, name or alias; may take a while. Raises `Refusal`."""
        if self.replica is None:
            raise Refusal(503, Problem(self.why), 1.0)
        return find(wanted, self.replica, self.version)

    def behind(self, asking: Asking) -> bool:
        """Whether the models have not seen what is asked for."""
        replica = self.replica
        if replica is None or replica.position < asking.min_position:
            return True
        return bool(asking.at_least_version) and not replica.holds(asking.at_least_version)

    def refuse_behind(self, asking: Asking) -> Refusal:
        """What to say when waiting did not help."""
        replica = self.replica
        if replica is None:
            return Refusal(503, Problem(self.why), 1.0)
        return refuse_behind(asking, replica.position, replica.live.version)

    # -- answers -----------------------------------------------------------------------------------------------------------

    def predict(self, events: Sequence[bytes], asking: Asking, wall_ms: int) -> list[Prediction]:
        """The answer to each event, in order; of one that is refused, why. Raises `Refusal`."""
        said = self.answers(events, asking, wall_ms)
        return [Prediction(error=str(one)) if isinstance(one, Refusal) else one for one in said]

    def answers(self, events: Sequence[bytes], asking: Asking, wall_ms: int) -> list[Prediction | Refusal]:
        """The answer to each event, in order, or why there is none. Raises `Refusal` where there is none at all."""
        if self.behind(asking):
            raise self.refuse_behind(asking)
        decoded = self.vectors.decoded(events, wall_ms)
        return self.answered(decoded, asking, self.states(decoded.wanted))

    def states(self, wanted: Sequence[tuple[str, str]]) -> list[State | None] | None:
        """What is stored; None while Redis is away, where the definition allows answers without it. Raises `Refusal`."""
        try:
            return self.circuit.read(lambda: self.reads.states(wanted)) if wanted else []
        except Away:
            if not self.pipeline.serving.degraded:
                raise
            return None

    def answered(
        self, decoded: Decoded, asking: Asking, states: Sequence[State | None] | None
    ) -> list[Prediction | Refusal]:
        """The answers from what was read. Raises `Refusal` where there is none at all."""
        replica, challenger = self.answering
        if replica is None or self.behind(asking):
            raise self.refuse_behind(asking)
        beside = find(asking.version, replica, self.version) if asking.version else None
        asked = decoded.asked
        if asking.as_of_ms is not None:
            asked = [one._replace(at=asking.as_of_ms) for one in asked]
        if states is None:
            vectors = [self.vectors.without(one) for one in asked]
        else:
            vectors = self.vectors.vectors(asked, states)
        made: list[Prediction | Refusal] = []
        for one, (vector, seen) in zip(decoded.asked, vectors, strict=True):
            second = challenger if self._challenged(one) else None
            try:
                made.append(self._answer(replica, one, vector, seen, asking, beside, second))
            except Refusal as error:
                made.append(error)
        given, failed = iter(made), decoded.failed
        count = len(made) + len(failed)
        return [Refusal(422, Problem(failed[n])) if n in failed else next(given) for n in range(count)]

    def _challenged(self, one: Asked) -> bool:
        """Whether this event's entity is the challenger's."""
        serving = self.pipeline.serving
        return serving.share > 0.0 and serving.arm(self.vectors.key_of(one)) == "challenger"

    def _answer(
        self,
        replica: Replica,
        one: Asked,
        vector: list[Any],
        seen: Seen,
        asking: Asking,
        beside: Named | None,
        challenger: Named | None,
    ) -> Prediction:
        if asking.as_of_ms is not None and seen.ages and min(seen.ages.values()) < 0:
            raise Refusal(422, Problem(PAST))
        answered = replica.ask(one.id, one.at, vector)
        if replica.nobody(answered):
            raise Refusal(500, Problem(SILENT))
        said = answered.prediction
        if challenger is not None:
            by = replica.shown_by(challenger.version, challenger.model, answered)
            said, challenger = (said, None) if by is None else (by, challenger)
        found = FeaturesFound(
            seen.ages, seen.missing, self._stale(seen, asking.max_age_ms), seen.null, list(answered.outside)
        )
        explanation = None
        if asking.explain:
            if self.explain is None:
                raise Refusal(
                    501, Problem("explanations are not available in this build: ask without explain")
                )
            explanation = self.explain(replica, answered, None if challenger is None else challenger.model)
        return Prediction(
            id=said.id,
            at=said.at,
            prediction=said.prediction,
            model=said.model,
            recipe=said.recipe,
            position=said.position,
            trained_to=replica.trained_to if challenger is None else challenger.trained_to,
            classes=said.classes,
            rank=said.rank,
            alert=said.alert,
            calibrated=said.calibrated,
            set=said.set,
            interval=said.interval,
            features=found,
            vector=dict(zip(replica.names, vector, strict=True)) if asking.vector else None,
            explanation=explanation,
            by_version=None if beside is None else beside.says(replica, vector),
            as_of=asking.as_of_ms,
            arm=None
            if not self.pipeline.serving.challenger
            else "champion"
            if challenger is None
            else "challenger",
            degraded=seen.degraded,
        )

    def _stale(self, seen: Seen, max_age_ms: int | None) -> list[str]:
        """The features of entities whose newest event is older than that."""
        if max_age_ms is None:
            return []
        old = {view for view, age in seen.ages.items() if age > max_age_ms}
        return [name for named in self.vectors.named for name in named if name.partition(".")[0] in old]

    def entity(self, view: str, parts: Sequence[str], at_ms: int | None) -> EntityFeatures:
        """The features of one entity as of a moment (None: now). Raises `Refusal`."""
        if view not in (known := [one.name for one in self.pipeline.views]):
            raise Refusal(
                404, Problem(f"{self.pipeline.name} has no view {view!r}: its views are {', '.join(known)}")
            )
        entity: Entity = parts[0] if len(parts) == 1 else tuple(parts)
        try:
            (found,) = self.circuit.read(lambda: self.reads.read([(view, entity)], at_ms))
        except ValueError as error:  # `MomentPassed`
            raise Refusal(422, Problem(str(error))) from None
        return EntityFeatures(
            view=view,
            entity="|".join(parts),
            found=found.found,
            values=found.values,
            status=dict(found.status),
            at=found.at_ms,
            age_ms=found.age_ms,
            until=found.until_ms,
        )

    def shown(self) -> PipelineShown:
        """This pipeline and its models now."""
        challenger = self.answering.challenger
        version = None if challenger is None else challenger.version
        return shown(self.pipeline, self.replica, self.why, version, self.challenger_why)
