"""One estimator through river's own validation and through the fold, over the same few hundred samples with the same delays.

Laws of this file:
- The samples log is made from river's `simulate_qa`: what is asked and told when, is river's word for both.
- What is compared are the model's own answers, before a task reads them, and the trained model itself.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from river import base, evaluate, metrics, stream

from penstock.stream.definition_file import seeded
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.learn.engine import River
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replay import replay
from penstock.stream.learn.tasks.calibrated import CalibratedClassifier, CalibratedDetector
from penstock.stream.messages import Entry, LabelRecord, Origin, Recipe, Sample
from penstock.stream.models.digest import digest
from penstock.stream.task_kind import Kind, final_of, names_only
from tests.estimators import inventory, pipelines
from tests.estimators.inventory import Case
from tests.stream import same_log
from tests.stream.generated import DELIVERED, MINUTE, START_MS, parcels
from tests.stream.same_log import TOPIC, births_often, go, stored

ROOT = Path(__file__).parent.parent.parent
SAMPLES = 130
NUMBERS = ("weight", "height", "speed", "heat", "turns")
WORDS = ("place", "flag")
ASKED = ("predict_one", "predict_proba_one", "score_one")

Stream = list[tuple[dict[str, Any], Any]]


@cache
def rows(kind: Kind, mixed: bool) -> Stream:
    """Vectors and labels: numbers from 0 up, one of them missing at times; with `mixed`, text and booleans beside them."""
    chance, made = random.Random(7), []
    for _ in range(SAMPLES):
        x: dict[str, Any] = {
            "weight": chance.lognormvariate(0.0, 0.7),
            "height": chance.random(),
            "speed": float(chance.randrange(5)),
            "heat": abs(chance.gauss(0.0, 1.0)),
            "turns": float(chance.random() < 0.4),
        }
        place = chance.choice(("yard", "dock", "ramp", "gate"))
        if mixed:
            x["place"] = place
            x["flag"] = chance.random() < 0.5
        noisy = x["weight"] + 2.0 * x["height"] + 0.3 * x["speed"] + chance.gauss(0.0, 0.4)
        noisy += {"yard": 0.6, "dock": -0.4}.get(place, 0.0) if mixed else 0.0
        if chance.random() < 0.1:
            del x["heat"]
        made.append((x, _label(kind, noisy)))
    return made


def _label(kind: Kind, value: float) -> Any:
    if kind == "regression":
        return value
    if kind == "multiclass":
        return "low" if value < 2.0 else "middle" if value < 3.2 else "high"
    return value > (4.5 if kind in ("anomaly", "unlabelled") else 2.7)


def delays(kind: Kind) -> list[int]:
    """How many samples later each label comes; without labels, at once."""
    chance = random.Random(11)
    if kind == "unlabelled":
        return [0] * SAMPLES
    return [chance.randrange(30) if chance.random() < 0.6 else 0 for _ in range(SAMPLES)]


class Unjudged(metrics.base.Metric):
    """Lets river's validation run and yield what was predicted, whatever that is."""

    def __init__(self, names: bool) -> None:
        self.names = names

    @property
    def requires_labels(self) -> bool:
        """Whether classes are asked for and not probabilities."""
        return self.names

    def update(self, y_true: Any, y_pred: Any) -> None:
        """Nothing."""

    def revert(self, y_true: Any, y_pred: Any) -> None:
        """Nothing."""

    def get(self) -> float:
        """Nothing."""
        return 0.0

    @property
    def bigger_is_better(self) -> bool:
        """Nobody asks."""
        return True

    def works_with(self, model: Any) -> bool:
        """With all."""
        return True


class Course(NamedTuple):
    """What came of a run: the answers in the order of their labels, the digest of the trained model, and the samples' ids."""

    answers: list[Any]
    model: str
    order: list[str]


def by_river(case: Case) -> Course:
    """River's `progressive_val_score`, each prediction looked at."""
    model, late = seeded(case.make()), iter(delays(case.kind))
    steps = evaluate.iter_progressive_val_score(
        dataset=rows(case.kind, case.mixed),
        model=model,
        metric=Unjudged(names_only(model)),
        delay=None if case.kind == "unlabelled" else lambda x, y: next(late),
        yield_predictions=True,
    )
    answers = [bits(step["Prediction"]) for step in steps]
    return Course(answers, digest(model), [])


def log_of(case: Case) -> list[Entry]:
    """The samples log of the same questions and answers."""
    pipeline, late = pipeline_of(case), iter(delays(case.kind))
    made: list[Entry] = [Recipe(pipeline.digest, pipeline.vector_names, "")]
    at, told = START_MS, 0
    asked = stream.simulate_qa(rows(case.kind, case.mixed), None, lambda x, y: next(late))
    for number, x, y in asked:
        if y is None:
            at += MINUTE
            values = [x.get(name) for name in pipeline.vector_names]
            made.append(Sample(Origin("sent", 0, number), f"p{number}", "van", at, values))
        elif case.kind != "unlabelled":
            made.append(LabelRecord(Origin("done", 0, told, 1), f"p{number}", at + 1, y))
            told += 1
    return made


def pipeline_of(case: Case) -> Pipeline:
    """The definition with this model, seeded as a definition file's is."""
    label = Label(DELIVERED, lambda e: e["late"], wait="6h", fields=("late",))
    return parcels(
        views=[],
        inputs=[*NUMBERS, *(WORDS if case.mixed else ())],
        model=seeded(case.make()),
        label=None if case.kind == "unlabelled" else label,
        task="multiclass" if case.kind == "multiclass" else None,
    )


class Told:
    """A model, or its compiled form, that notes its own first answer to a sample."""

    def __init__(self, model: Any) -> None:
        self.told = model
        self.noted: list[Any] = []
        self.filter = final_of(model) if isinstance(final_of(model), base.AnomalyFilter) else None

    @property
    def model(self) -> Any:
        """River's model."""
        return self.told if isinstance(self.told, base.Estimator) else self.told.model

    def said(self, x: dict[str, Any]) -> Any:
        """The compiled form's probability of true."""
        p = self.told.said(x)
        self.noted.append({True: p, False: 1.0 - p} if p is not None else "failed")
        return p

    def learn(self, x: dict[str, Any], y: Any) -> bool:
        """As the compiled form does."""
        return bool(self.told.learn(x, y))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.told, name)
        if name not in ASKED:
            return found

        def asked(x: dict[str, Any]) -> Any:
            try:
                answer = found(x)
            except Exception as error:
                self.noted.append(f"{type(error).__name__}: {error}")
                raise
            self.noted.append(self.filter.classify(answer) if self.filter is not None else answer)
            return answer

        return asked


def listened(fold: Fold) -> Told:
    """Put a `Told` in the place of the fold's only model."""
    engine = fold.experts.first.engine
    if not isinstance(engine, River):
        told = Told(engine)
        vars(type(fold.experts.first))["engine"].__set__(fold.experts.first, told)
        return told
    model = engine.model
    if isinstance(model, CalibratedClassifier | CalibratedDetector):
        told = model.model = Told(model.model)
    else:
        told = engine.model = Told(model)
    return told


def by_fold(case: Case) -> tuple[Course, Fold]:
    """The fold with one model alone, and what that said itself."""
    fold = Fold(pipeline_of(case), actions=False)
    told, said, order = listened(fold), {}, []
    for position, entry in enumerate(log_of(case)):
        told.noted.clear()
        fold.step(position, entry)
        if isinstance(entry, Sample):
            said[entry.id] = bits(told.noted[0]) if told.noted else "not asked"
        elif isinstance(entry, LabelRecord):
            order.append(entry.id)
    order = order or list(said)
    return Course([said[one] for one in order], digest(told.model), order), fold


def bits(answer: Any) -> Any:
    """An answer in which floats are their bits, and so comparable to the last one."""
    if isinstance(answer, Mapping):
        return {key: bits(value) for key, value in answer.items()}
    if isinstance(answer, bool | np.bool_):
        return bool(answer)
    if isinstance(answer, int | float | np.number):
        return struct.pack("<d", float(answer))
    return answer


# -- the same log again ---------------------------------------------------------------------------------------------------


def more_births() -> AbstractContextManager[None]:
    """Let fresh models and frozen copies come within so short a log."""
    return births_often(80, lambda labels: labels % 100 == 60)


def digests(fold: Fold) -> list[str]:
    """Of the fold, and of every model."""
    return [fold.digest(), *(digest(one.model) for one in fold.experts.models)]


def state_of(fold: Fold) -> tuple[Any, ...]:
    """What must be equal besides: all predictions, who weighs how much, what was counted, and what the task keeps."""
    weights = list(fold.experts.weights().values())
    return fold.chain.hex(), weights, fold.counts, fold.task.measures(), digest(fold.task), digest(fold.base)


def straight(case: Case) -> Fold:
    """The whole fold over the log, uninterrupted."""
    return go(Fold(pipeline_of(case)), log_of(case))


def interrupted(case: Case) -> Fold:
    """The same from a snapshot in the middle."""
    log = log_of(case)
    return same_log.interrupted(lambda: pipeline_of(case), log, len(log) // 2)[1]


def again(case: Case) -> Fold:
    """A replay of the stored log."""
    return replay(pipeline_of(case), stored(log_of(case)), TOPIC)


def main() -> None:
    """What comes of the cases that are named, in a process of their own: folded alone, or straight and from a snapshot."""
    what, wanted = sys.argv[1], set(json.loads(sys.argv[2]))
    found: dict[str, list[str]] = {}
    for case in [*inventory.cases(), *pipelines.cases()]:
        if case.name not in wanted:
            continue
        if what == "folded":
            course, fold = by_fold(case)
            found[case.name] = [course.model, fold.digest(), fold.recipe]
        else:
            with more_births():
                found[case.name] = [straight(case).digest(), interrupted(case).digest()]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
