"""The live prediction explained: the explanations of the experts that made it, weighted as their answers were.

Laws of this file:
- A mixture is a mean of answers (probabilities, numbers), not of log-odds. So each expert's contributions are first carried to
  the scale of its answer (`Part.answered`), and their weighted sum, with that of their bases, ends at the mixture's own answer.
- The weights are those that mixed the answers: whoever asks does so before the gate hears of another label.
- The base predictor knows no inputs: all that it says is part of the base.
- Where one model predicts alone (a pin, approval, no labels) that one is explained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import fsum
from typing import Any

from penstock.stream.explain.explanation import (
    TOLERANCE,
    CannotExplain,
    Explanation,
    ModelShare,
    Part,
    Scale,
    added,
    ranked,
)
from penstock.stream.explain.model import Answer, explain, part
from penstock.stream.learn.engine import said
from penstock.stream.learn.expert import Answer as Asked
from penstock.stream.learn.expert import Expert
from penstock.stream.learn.experts import Experts
from penstock.stream.learn.tasks.likelihoods import copied, parts
from penstock.stream.learn.tasks.multiclass import most_probable
from penstock.stream.learn.tasks.task import Task
from penstock.stream.task_kind import Kind

SCALES: dict[Kind, Scale] = {"regression": "number", "unlabelled": "score"}
MIXED = "the experts' own explanations by their weights"


def live(
    experts: Experts,
    x: Mapping[str, Any],
    asked: Asked,
    *,
    outside: Iterable[str] = (),
    alone: Expert | None = None,
    background: Mapping[str, Any] | None = None,
    names: Iterable[str] = (),
    of: str | None = None,
) -> Explanation:
    """Why the live prediction of `x` is what it is.

    Args:
        experts: those who were asked, with the weights by which they were mixed.
        x: the vector that they were asked about, without the missing.
        asked: what they answered, as `Experts.ask` gave it.
        outside: the inputs that the careful expert was not told.
        alone: the one that predicts alone, if one does. If it was asked and said nothing, all of them are explained.
        background: typical values of inputs, for models that have none of their own.
        names: inputs to list even if they are missing.
        of: of several classes, the one whose probability is explained; by default the most probable.

    Raises:
        CannotExplain: one of the models that have a part cannot be explained; the message names it.

    """
    task, p = experts.task, asked.mixture.p
    if alone is None and task.at_once:
        weights = experts.gate.totals()
        awake = [place for place in range(1, len(asked.said)) if asked.said[place] is not None]
        alone = experts.all[max(awake, key=weights.__getitem__)] if awake else None
    if alone is not None and asked.of(alone) is not None:
        shares = [float(one is alone) for one in experts.all]
        p = p if task.at_once else asked.of(alone)
    else:
        shares = parts(copied(experts.gate), asked.said, asked.mixture.boosted)
    if task.kind == "multiclass" and of is None:
        of = most_probable(p)
    inside = {name: value for name, value in x.items() if name not in set(outside)}
    scale = SCALES.get(task.kind, "probability")
    answer, found, models, base = _answer(task, of), list[tuple[float, Part]](), list[ModelShare](), 0.0
    for one, share, own in zip(experts.all, shares, asked.said, strict=True):
        if share <= 0.0:
            continue
        if one.kind == "base":
            base += share * number(task, own, of)
            method = "the same for every vector"
        else:
            explained = _part(
                one, dict(inside if one.kind == "careful" else x), answer, scale, background, of
            )
            found.append((share, explained.answered(scale)))
            method = explained.method
        models.append(ModelShare(one.version, one.kind, share, method))
    margin = number(task, p, of)
    given = added((share, one.given) for share, one in found)
    base = _closed(base + sum(share * one.base for share, one in found) if models else margin, given, margin)
    method = MIXED if len(models) > 1 else models[0].method if models else "nobody knows anything yet"
    return Explanation(base, margin, margin, scale, method, ranked(given, x, names), of, models)


def single(task: Task, model: Any, x: Mapping[str, Any], names: Iterable[str] = ()) -> Explanation:
    """Why one model by itself answers to `x` what it does. Raises `CannotExplain`."""
    of = None
    if task.kind == "multiclass":
        own = task.said(model, dict(x))
        if own is None:
            raise CannotExplain("the model gives no answer")
        of = most_probable(own)
    scale = SCALES.get(task.kind, "probability")
    return explain(model, x, target=of or True, answer=_answer(task, of), scale=scale, names=names)


def _closed(base: float, given: Mapping[str, float], margin: float) -> float:
    """The base with what rounding left over. More than that is no explanation."""
    rest = margin - fsum((base, *given.values()))
    if not abs(rest) <= TOLERANCE * max(1.0, abs(margin)):
        raise CannotExplain(
            f"the contributions end at {margin - rest:.9g} and the prediction is {margin:.9g}: this is a mistake in Penstock"
        )
    return base + rest


def _part(
    one: Expert,
    x: dict[str, Any],
    answer: Answer,
    scale: Scale,
    background: Mapping[str, Any] | None,
    of: str | None,
) -> Part:
    try:
        return part(one.model, x, True if of is None else of, answer, scale, background or {})
    except CannotExplain as error:
        raise CannotExplain(f"model {one.version}: {error}") from None


def number(task: Task, answer: Any, of: str | None) -> float:
    """An answer of a task as the number that is explained."""
    if task.kind == "multiclass":
        return 0.0 if of is None else float(answer.get(of, 0.0))
    return float(answer.score) if task.kind == "unlabelled" and hasattr(answer, "score") else float(answer)


def _answer(task: Task, of: str | None) -> Answer:
    if task.kind in ("binary", "anomaly"):
        return said

    def asked(model: Any, x: dict[str, Any]) -> float | None:
        own = task.said(model, x)
        return None if own is None else number(task, own, of)

    return asked
