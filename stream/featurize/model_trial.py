"""Tries a pipeline's model on vectors made from the definition, before any event does: what it takes as text, and if at all.

Laws of this file:
- Only clones learn. A model is refused only when every vector that the definition allows makes it raise.
- What is tried is what the fold does: predict before any label, learn labels of each kind, predict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.task_kind import Kind, names_only

Held = Literal["number", "text"]
NUMBER, TEXT = 1.0, "text"
MOST_TRIALS = 2_000
LABELS: dict[Kind, tuple[Any, ...]] = {
    "binary": (True, False),
    "multiclass": ("one", "two", "three"),
    "regression": (1.0, -2.0),
    "anomaly": (True, False),
    "unlabelled": (None, None),
}
"""The labels that a trial teaches."""


def text_inputs(pipeline: Pipeline) -> set[str]:
    """The inputs in which the model takes text, tried on clones; all of them when it does not take numbers everywhere either."""
    numbers: dict[str, Any] = dict.fromkeys(pipeline.vector_names, NUMBER)
    if raised(pipeline.model, numbers, pipeline.kind) is not None:
        return set(pipeline.inputs)
    kind = pipeline.kind
    return {name for name in pipeline.inputs if raised(pipeline.model, {**numbers, name: TEXT}, kind) is None}


def raised(model: Any, x: Mapping[str, Any], kind: Kind = "binary") -> Exception | None:
    """What a fresh copy of the model raises on this vector; None if it predicts and learns it."""
    try:
        model = model.clone()
        for y in LABELS[kind]:
            _ask(model, dict(x), kind)
            if kind in ("anomaly", "unlabelled"):
                model.learn_one(dict(x))
            else:
                model.learn_one(dict(x), y)
        _ask(model, dict(x), kind)
    except Exception as error:
        return error
    return None


def _ask(model: Any, x: dict[str, Any], kind: Kind) -> None:
    """One answer, as the fold asks for it; raises for what is none."""
    if kind in ("anomaly", "unlabelled"):
        float(model.score_one(x))
    elif kind == "regression":
        float(model.predict_one(x))
    elif names_only(model):
        model.predict_one(x)
    else:
        model.predict_proba_one(x).get(True)


def check_model(pipeline: Pipeline) -> None:
    """Raise `DefinitionError`, in one line, if the model raises on every vector that the definition allows."""
    known = known_inputs(pipeline)
    unknown = [name for name in pipeline.inputs if name not in known]
    settled = dict.fromkeys(pipeline.vector_names, NUMBER) | {
        name: TEXT for name, held in known.items() if held == "text"
    }
    first: Exception | None = None
    for tried, texts in enumerate(subsets(unknown)):
        if tried == MOST_TRIALS:
            return  # too many to say that none is right
        error = raised(pipeline.model, {**settled, **dict.fromkeys(texts, TEXT)}, pipeline.kind)
        if error is None:
            return
        first = first or error
    held_texts = [name for name, held in known.items() if held == "text"]
    what = "numbers in every input"
    todo = "a model must predict and learn the vector that `penstock check` prints without raising"
    if held_texts:
        names = ", ".join(map(repr, held_texts))
        what = f"text in {names}, as a view of {pipeline.predict.name!r} says"
        todo = (
            f"take text apart from numbers, such as (compose.Select({held_texts[0]!r}) | preprocessing.OneHotEncoder()) + "
            f"(compose.Discard({held_texts[0]!r}) | preprocessing.StandardScaler()), or leave it out of inputs"
        )
    raise DefinitionError(
        f"Pipeline {pipeline.name!r}: the model raises on a vector with {what}: "
        f"{type(first).__name__} {' '.join(str(first).split())[:300]}".rstrip()
        + f"; {todo}"
    )


def known_inputs(pipeline: Pipeline) -> dict[str, Held]:
    """The inputs of which the definition says what they hold: those that a view of the predicted source computes or compares."""
    found: dict[str, Held] = {}
    for view in pipeline.views:
        if view.source.name == pipeline.predict.name:
            for name, kind in view.field_types.items():
                if name in pipeline.inputs and kind != "any":
                    found[name] = kind
    return found


def subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every choice of these names, the smallest first."""
    for size in range(len(names) + 1):
        yield from combinations(names, size)
