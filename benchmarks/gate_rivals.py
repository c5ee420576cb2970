"""What `benchmarks.gate` compares the gate with: river alone and restarts, on the same labels at the same time.

Laws of this file:
- A rival predicts at each sample and learns when the label has come, joined as the fold joins. It sees nothing else.
- Losses are log losses in nats, probabilities clipped to [0.002, 0.998].
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import river
from river import drift, forest, linear_model, naive_bayes, preprocessing, tree

from benchmarks.gate_streams import CannotRead, Opened, lessons
from penstock.stream.definition_file import seeded
from penstock.stream.learn.engine import learn, probability
from penstock.stream.learn.learner import vector
from penstock.stream.messages import Sample

CLIP = 0.002
TOLD_EVERY = 2_000
Floats = npt.NDArray[np.float64]
MODELS: dict[str, Callable[[], Any]] = {
    "lr": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "ht": tree.HoeffdingTreeClassifier,
    "nb": naive_bayes.GaussianNB,
    "arf": forest.ARFClassifier,
}


class Model(Protocol):
    """As much of a river classifier as is used here."""

    def predict_proba_one(self, x: dict[str, Any]) -> dict[Any, float]: ...

    def learn_one(self, x: dict[str, Any], y: bool) -> None: ...


class RestartAtAdwin:
    """A model that is begun anew when ADWIN, fed with its errors at the labels (0 or 1), detects a change either way."""

    def __init__(self, model: Any) -> None:
        self.fresh = model
        self._begin()

    def _begin(self) -> None:
        self.model = self.fresh.clone()
        self.adwin = drift.ADWIN()  # type: ignore[no-untyped-call]

    def predict_proba_one(self, x: dict[str, Any]) -> dict[Any, float]:
        """What the model says."""
        return dict(self.model.predict_proba_one(x))

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """Judge the model by one label, let it learn, and begin anew if that was one too many."""
        self.adwin.update(int((probability(self.model, x) > 0.5) != y))  # type: ignore[no-untyped-call]
        self.model.learn_one(x, y)
        if self.adwin.drift_detected:
            self._begin()


def rivals(model: Any) -> dict[str, Model]:
    """River alone, and two ways to restart it."""
    ddm = drift.binary.DDM()  # type: ignore[no-untyped-call]
    return {
        "passive": model.clone(),
        "ddm": drift.DriftRetrainingClassifier(model.clone(), ddm),  # type: ignore[no-untyped-call]
        "adwin": RestartAtAdwin(model),
    }


def kept_predictions(
    cache: Path | None, model: Any, opened: Opened, tell: Callable[[int], None]
) -> dict[str, Floats]:
    """`predictions`, from the cache if a model that reads the same met the same entries before."""
    if cache is None:
        return predictions(model, opened, tell)
    asked = hashlib.sha256(f"{repr(model)} {river.__version__} {opened.pipeline(model).digest}".encode())
    asked.update(msgspec.msgpack.encode(opened.entries))
    path = cache / f"rivals-{asked.hexdigest()[:16]}.npz"
    if path.is_file():
        with np.load(path) as kept:
            return {name: kept[name] for name in kept.files}
    said = predictions(model, opened, tell)
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez(unfinished, **said)  # type: ignore[arg-type]
    unfinished.replace(path)
    return said


def predictions(model: Any, opened: Opened, tell: Callable[[int], None]) -> dict[str, Floats]:
    """What each rival says at each sample. `tell` hears now and then how many samples are done."""
    pipeline = opened.pipeline(model)
    names, wait_ms = pipeline.vector_names, pipeline.label.wait_ms
    running = rivals(model)
    said = {name: array("d") for name in running}
    samples = (entry.x for entry in opened.entries if isinstance(entry, Sample))
    waits: dict[int, dict[str, Any]] = {}
    for number, y in lessons(opened.entries, wait_ms):
        if y is None:
            x = vector(names, next(samples))
            if opened.truth[number] is not None:
                waits[number] = x
            for name, rival in running.items():
                said[name].append(probability(rival, x))
            if number % TOLD_EVERY == 0:
                tell(number)
        else:
            x = waits.pop(number)
            for rival in running.values():
                learn(rival, x, y)
    return {name: np.array(values) for name, values in said.items()}


def nats(p: float, y: bool) -> float:
    """Log loss of one clipped probability."""
    p = min(max(p, CLIP), 1.0 - CLIP)
    return -math.log(p if y else 1.0 - p)


def losses(said: array[float] | Floats, opened: Opened) -> Floats:
    """The loss at every sample whose outcome is known, in their order."""
    known = np.array([y is not None for y in opened.truth], np.bool_)
    p = np.clip(np.array(said), CLIP, 1.0 - CLIP)[known]
    y = np.array([y for y in opened.truth if y is not None], np.bool_)
    return np.asarray(-np.log(np.where(y, p, 1.0 - p)))


def model_of(text: str) -> tuple[str, Any]:
    """The name and the fresh model that `--model` means: one of ours, or `model` of a Python file. Raises `CannotRead`."""
    if text in MODELS:
        return text, seeded(MODELS[text]())
    path = Path(text).absolute()
    if path.suffix != ".py" or not path.is_file():
        raise CannotRead(f"--model {text}: neither {', '.join(MODELS)} nor a Python file")
    name = f"gate_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CannotRead(f"{path}: Python cannot load it")
    module = importlib.util.module_from_spec(spec)
    # By name: a snapshot of the model refers to what the file defines.
    sys.modules[name] = module
    sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CannotRead(f"{path}: {type(error).__name__}: {error}") from error
    found = getattr(module, "model", None)
    if not hasattr(found, "clone") or not hasattr(found, "learn_one"):
        raise CannotRead(f"{path}: it must define `model`, a river classifier")
    return path.stem, seeded(found)
