"""What scores: the live models as learn last stored them, or one stored version by itself.

Laws of this file:
- Nothing learns. The models are this process's own copies, and what answers is the code of the serve role.
- Nothing is unpickled that is not signed.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import river

from penstock.features.redis.keys import model_key
from penstock.features.redis.store import StateStore
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.engine import engine_of, plain
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import vector
from penstock.stream.learn.replica import Replica, Standing, standing_of
from penstock.stream.learn.snapshot import StateUnpickler, Taken
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.learn.tasks import task_of
from penstock.stream.learn.tasks.unlabelled import Unlabelled
from penstock.stream.messages import Value
from penstock.stream.models.store import ModelStore
from penstock.stream.models.version import BadEnvelope, Secret, open_version
from penstock.stream.operate.registry import RegistryError, find
from penstock.stream.prediction import ModelRef, Prediction
from penstock.stream.score.refusal import CannotScore


class Scorer(Protocol):
    """What answers. `about` says what it is, for people and for a file's metadata."""

    about: dict[str, Any]

    def answer(self, id_: str, at: int, values: Sequence[Value]) -> Prediction:
        """The answer to a vector, in the order of the definition's. Raises `ValueError` where the model gives none."""


class Live:
    """The live prediction, of all models together."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        live = replica.live
        self.about = {
            "model_version": live.version,
            "position": replica.position,
            "recipe": replica.standing.recipe,
        }

    def answer(self, id_: str, at: int, values: Sequence[Value]) -> Prediction:
        """See `Scorer`."""
        return answer_of(self.replica, id_, at, values)


def answer_of(replica: Replica, id_: str, at: int, values: Sequence[Value]) -> Prediction:
    """What all models of a replica together say of a vector. Raises `ValueError` where none of them says anything."""
    found = replica.ask(id_, at, values)
    if not any(one is not None for one in found.answer.said[1:]):
        raise ValueError("no model gives an answer to this vector")
    return found.prediction


class One:
    """One stored version by itself, which says what it says whatever is live."""

    def __init__(self, pipeline: Pipeline, version: str, model: Any, position: int) -> None:
        self.about = {"model_version": version, "position": position, "recipe": pipeline.digest}
        self.names, self.task = pipeline.vector_names, task_of(pipeline)
        self.model = plain(engine_of(model))
        self.ref, self.position, self.recipe = ModelRef(version), position, pipeline.digest

    def answer(self, id_: str, at: int, values: Sequence[Value]) -> Prediction:
        """See `Scorer`."""
        said = self.task.said(self.model, vector(self.names, values))
        if said is None:
            raise ValueError("the model gives no answer to this vector")
        shown = (said,) if isinstance(self.task, Unlabelled) else self.task.shown(said)
        classes = shown[1] if len(shown) > 1 else None
        return Prediction(id_, at, shown[0], self.ref, self.recipe, self.position, classes)


class Stored(NamedTuple):
    """Where a pipeline's models lie: learn's states (to be loaded only), its versions, and its name as deployed."""

    states: StateStore
    versions: ModelStore
    deployed: str
    secret: Secret


def scorer(pipeline: Pipeline, stored: Stored, wanted: str | None) -> Scorer:
    """The live models, or the version `wanted` (an id, a name, champion or previous). Raises `CannotScore`, `BadEnvelope`."""
    if wanted is None:
        taken = StoredSnapshot(stored.states, stored.deployed, stored.secret).load()
        if taken is None:
            raise CannotScore(
                f"learn has stored no models of {stored.deployed!r} yet: it does when it has run for 10 s; or name a version by "
                "--models"
            )
        return Live(replica_of(pipeline, taken))
    (document,) = stored.states.load([model_key(stored.deployed)])
    try:
        version, payload = find(stored.versions, wanted, {} if document is None else json.loads(document))
    except RegistryError as error:
        raise CannotScore(f"--models: {error}") from None
    if version.recipe != pipeline.digest:
        raise CannotScore(
            f"version {version.id} was made under definition {version.recipe}, the file is {pipeline.digest}: its inputs differ. "
            "Give the definition file that it was made under"
        )
    return One(pipeline, version.id, open_version(version, payload), version.position)


def replica_of(pipeline: Pipeline, taken: Taken) -> Replica:
    """What the fold of a snapshot would answer next. Raises `BadEnvelope` for one of another definition, Python or river."""
    header = taken.header
    here = (pipeline.digest, platform.python_version(), river.__version__)
    for what, written, wanted in zip(
        ("definition", "Python", "river"), (header.recipe, header.python, header.river), here, strict=True
    ):
        if written != wanted:
            raise BadEnvelope(
                f"learn's models were stored under {what} {written} and here is {wanted}: score with the definition file and the "
                "installation that learn runs with"
            )

    def standing() -> Standing:
        try:
            state = StateUnpickler(taken.parts).load()
        except Exception as error:  # whatever a class that changed since may raise
            raise BadEnvelope(f"learn's models do not open here ({type(error).__name__}: {error})") from error
        fold = Fold(pipeline)
        vars(fold).update({name: value for name, value in state.items() if name in vars(fold)})
        return standing_of(fold)

    return Replica(standing(), pipeline.vector_names, lambda: standing().experts)


class Column(NamedTuple):
    """A column that scoring adds: its type, and what it holds of a prediction."""

    kind: type
    of: Callable[[Prediction], Any]


def columns_of(pipeline: Pipeline) -> dict[str, Column]:
    """What the predictions of a pipeline are in columns, the value first. Classes and sets are JSON text."""
    text = pipeline.kind == "multiclass"
    found = {"prediction": Column(str if text else float, lambda p: p.prediction)}
    if text:
        found["probability"] = Column(float, lambda p: (p.classes or {}).get(str(p.prediction)))
        found["classes"] = Column(str, lambda p: _json(p.classes))
    if pipeline.kind == "unlabelled":
        found["rank"] = Column(float, lambda p: p.rank)
        found["alert"] = Column(bool, lambda p: p.alert)
    if pipeline.calibrate:
        found["calibrated"] = Column(float, lambda p: p.calibrated)
    if pipeline.interval is not None and pipeline.kind == "regression":
        found["interval_low"] = Column(float, lambda p: None if p.interval is None else p.interval[0])
        found["interval_high"] = Column(float, lambda p: None if p.interval is None else p.interval[1])
    elif pipeline.interval is not None:
        found["set"] = Column(str, lambda p: _json(p.set))
    return found


def _json(value: Mapping[str, float] | list[str] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
