"""One pipeline as it is served: the newest replica, features as of now, and answers made of both.

Laws of this file:
- A replica is exchanged between two requests, never within one: all answers of a request come from one position.
- Nothing is kept from one request to the next. What cannot be answered is a `Refusal`, with a status and a whole sentence.
- No clock: whoever asks says what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from penstock.features.engine.compute import CompiledView, State, StateMismatch
from penstock.features.read.served import Entity, Features
from penstock.features.units import StoreUnavailable
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected
from penstock.stream.learn.replica import Replica
from penstock.stream.models.version import BadEnvelope
from penstock.stream.prediction import ModelRef
from penstock.stream.serve.answers import (
    EntityFeatures,
    FeaturesFound,
    PipelineShown,
    Prediction,
    Problem,
    ViewShown,
)
from penstock.stream.serve.vectors import Seen, Vectors

AWAY_MS = 500
"""After Redis did not answer it is not asked again for so long: who asks hears at once that it is away."""


class Reads(Protocol):
    """What is needed of a `FeatureReader` that has the definitions."""

    def compiled(self, view: str) -> CompiledView:
        """What evaluates the states of a view."""

    def states(self, wanted: Sequence[tuple[str, str]]) -> list[State | None]:
        """Private states."""

    def read(self, wanted: Sequence[tuple[str, Entity]], at_ms: int | None = None) -> list[Features]:
        """Features as of a moment."""


class Refusal(Exception):
    """There is no answer: the HTTP status, what to say, and after how many seconds to try again (None: it would not help)."""

    def __init__(self, status: int, problem: Problem, retry_s: float | None = None) -> None:
        super().__init__(problem.error)
        self.status, self.problem, self.retry_s = status, problem, retry_s


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for beside the prediction.

    `min_position` and `at_least_version` name what the models must have seen, `wait_ms` how long to wait for it. `version` is
    asked by itself, too. `max_age_ms` is how old features may be before they are named as stale.
    """

    min_position: int = -1
    at_least_version: str = ""
    wait_ms: int = 1_000
    max_age_ms: int | None = None
    version: str = ""
    explain: bool = False
    vector: bool = False


class ServedPipeline:
    """A pipeline, its reader of features, where its replicas come from and how its kept versions are opened.

    `newest` gives a replica when there is another one than at its last call, else None; it may raise what Redis raises.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        reads: Reads,
        newest: Callable[[], Replica | None],
        version: Callable[[str], Any] | None = None,
        explain: Callable[[Replica, Any], dict[str, Any]] | None = None,
    ) -> None:
        self.pipeline, self.reads, self.newest = pipeline, reads, newest
        self.version, self.explain = version, explain
        self.vectors = Vectors(pipeline, reads.compiled)
        self.replica: Replica | None = None
        self.why = "learn has stored no models to answer with yet: see that its role runs"
        self.away_until_ms = 0
        self.away = ""

    # -- models ------------------------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Look for a newer replica; whether there was one. What is wrong is kept in `why`, and the last one goes on answering."""
        try:
            found = self.newest()
        except (StoreUnavailable, BadEnvelope) as error:
            self.why = str(error)
            return False
        if found is None:
            return False
        self.replica, self.why = found, ""
        return True

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
        wanted = (
            f"version {asking.at_least_version!r}"
            if replica.position >= asking.min_position
            else f"position {asking.min_position}"
        )
        return Refusal(
            409,
            Problem(
                f"the models here stand at position {replica.position} with {replica.live.version}, and {wanted} was not "
                f"reached within {asking.wait_ms} ms: try again, or ask without that bound",
                replica.position,
                replica.live.version,
            ),
            1.0,
        )

    # -- answers -----------------------------------------------------------------------------------------------------------

    def predict(self, events: Sequence[bytes], asking: Asking, wall_ms: int) -> list[Prediction]:
        """The answer to each event, in order. Raises `Refusal`."""
        replica = self.replica
        if replica is None or self.behind(asking):
            raise self.refuse_behind(asking)
        model = self._kept(asking.version) if asking.version else None
        rejected: dict[int, str] = {}
        asked = []
        for number, event in enumerate(events):
            try:
                asked.append(self.vectors.asked(event, wall_ms))
            except Rejected as error:
                rejected[number] = str(error)
            # As in featurize: whatever an event provokes is that event's.
            except Exception as error:
                rejected[number] = f"{type(error).__name__}: {error}"
        wanted = self.vectors.wanted(asked)
        states = self._redis(lambda: self.reads.states(wanted), wall_ms) if wanted else []
        made = iter(
            [
                self._answer(replica, one.id, one.at, vector, seen, asking, model)
                for one, (vector, seen) in zip(asked, self.vectors.vectors(asked, states), strict=True)
            ]
        )
        return [
            Prediction(error=rejected[number]) if number in rejected else next(made)
            for number in range(len(events))
        ]

    def _answer(
        self, replica: Replica, id_: str, at: int, vector: list[Any], seen: Seen, asking: Asking, model: Any
    ) -> Prediction:
        answered = replica.ask(id_, at, vector)
        said = answered.prediction
        found = FeaturesFound(
            seen.ages, seen.missing, self._stale(seen, asking.max_age_ms), seen.null, list(answered.outside)
        )
        by_version = None
        if model is not None:
            by_version = {"version": asking.version, "prediction": replica.ask_model(model, vector)}
        explanation = None
        if asking.explain:
            if self.explain is None:
                raise Refusal(
                    501, Problem("explanations are not available in this build: ask without explain")
                )
            explanation = self.explain(replica, answered)
        return Prediction(
            id=said.id,
            at=said.at,
            prediction=said.prediction,
            model=said.model,
            recipe=said.recipe,
            position=said.position,
            trained_to=replica.trained_to,
            classes=said.classes,
            rank=said.rank,
            alert=said.alert,
            calibrated=said.calibrated,
            set=said.set,
            interval=said.interval,
            features=found,
            vector=dict(zip(replica.names, vector, strict=True)) if asking.vector else None,
            explanation=explanation,
            by_version=by_version,
        )

    def _stale(self, seen: Seen, max_age_ms: int | None) -> list[str]:
        """The features of entities whose newest event is older than that."""
        if max_age_ms is None:
            return []
        old = {view for view, age in seen.ages.items() if age > max_age_ms}
        return [name for named in self.vectors.named for name in named if name.partition(".")[0] in old]

    def _kept(self, version: str) -> Any:
        """The model of a kept version."""
        if self.version is None:
            raise Refusal(501, Problem("kept versions are not available here: ask without version"))
        try:
            return self.version(version)
        except (BadEnvelope, KeyError) as error:
            why = error.args[0] if error.args else error
            raise Refusal(404, Problem(f"version {version!r} cannot be asked: {why}")) from None

    def entity(self, view: str, parts: Sequence[str], at_ms: int | None, wall_ms: int) -> EntityFeatures:
        """The features of one entity as of a moment (None: now). Raises `Refusal`."""
        if view not in (known := [one.name for one in self.pipeline.views]):
            raise Refusal(
                404, Problem(f"{self.pipeline.name} has no view {view!r}: its views are {', '.join(known)}")
            )
        entity: Entity = parts[0] if len(parts) == 1 else tuple(parts)
        try:
            (found,) = self._redis(lambda: self.reads.read([(view, entity)], at_ms), wall_ms)
        except StateMismatch as error:
            raise Refusal(503, Problem(str(error)), 1.0) from None
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

    def _redis(self, read: Callable[[], list[Any]], wall_ms: int) -> list[Any]:
        """What Redis gives, or a refusal; while it is known to be away it is not asked."""
        if wall_ms < self.away_until_ms:
            raise Refusal(503, Problem(self.away), 1.0)
        try:
            return read()
        except StoreUnavailable as error:
            self.away_until_ms, self.away = wall_ms + AWAY_MS, f"features cannot be read: {error}"
            raise Refusal(503, Problem(self.away), 1.0) from None
        except StateMismatch as error:
            raise Refusal(503, Problem(str(error)), 1.0) from None

    # -- what it is --------------------------------------------------------------------------------------------------------

    def shown(self) -> PipelineShown:
        """This pipeline and its models now."""
        pipeline, replica = self.pipeline, self.replica
        views = [
            ViewShown(view.name, list(view.key_fields), list(view.features), list(view.numeric))
            for view in pipeline.views
        ]
        shown = PipelineShown(
            name=pipeline.name,
            task=pipeline.kind,
            recipe=pipeline.digest,
            inputs=list(pipeline.inputs),
            views=views,
            ready=replica is not None,
            why=self.why,
        )
        if replica is None:
            return shown
        standing = replica.standing
        weights = standing.experts.weights()
        return msgspec.structs.replace(
            shown,
            model=ModelRef(replica.live.version, 1.0 if standing.alone else weights[replica.live.version]),
            position=replica.position,
            trained_to=replica.trained_to,
            at=standing.at,
            learning_held=standing.held,
            weights=weights,
        )
