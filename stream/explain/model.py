"""One model, one vector: by the exact method for its kind, or asked input by input.

Laws of this file:
- What an exact method says is kept only if it ends at the model's own answer; otherwise the model is asked input by input. So a
  subclass or a wrapper that answers in its own way is never explained as if it were its parent.
- Nothing learns, and nothing of the model changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from river.compose import Pipeline, TransformerUnion
from river.preprocessing import AdaptiveStandardScaler, StandardScaler

from penstock.stream.explain.additive import LINEAR, bayes, is_bayes, linear
from penstock.stream.explain.explanation import (
    TOLERANCE,
    CannotExplain,
    Explanation,
    Part,
    Scale,
    Unclaimed,
    added,
    ranked,
)
from penstock.stream.explain.inputs import made
from penstock.stream.explain.trees import forest, is_forest, is_tree, tree
from penstock.stream.explain.walk import walked
from penstock.stream.learn.engine import said

Answer = Callable[[Any, dict[str, Any]], float | None]
"""What a model answers to a vector, as a number; None when it fails."""
CENTRES = (AdaptiveStandardScaler, StandardScaler)


def explain(
    model: Any,
    x: Mapping[str, Any],
    *,
    target: Any = True,
    answer: Answer = said,
    scale: Scale = "probability",
    background: Mapping[str, Any] | None = None,
    names: Iterable[str] = (),
) -> Explanation:
    """Why `model` answers to `x` what it answers, on its own scale: log-odds where it adds up there, else that of its answer.

    Args:
        model: a river model, or its compiled form.
        x: the vector; missing inputs are left out, as for the model.
        target: of a classifier, the class whose probability is explained.
        answer: how the model is asked; by default for the probability of true.
        scale: what `answer` gives.
        background: typical values of inputs, for models that have none of their own; an input without one is left out.
        names: inputs to list even if they are missing and contribute nothing.

    Raises:
        CannotExplain: the model gives no answer, or none when inputs are left out.

    Example:
        >>> from river import linear_model
        >>> model = linear_model.LogisticRegression(intercept_lr=0.0)
        >>> model.learn_one({"a": 1.0, "b": 0.0}, True)
        >>> found = explain(model, {"a": 2.0, "b": 5.0})
        >>> found.base, [(one.feature, round(one.contribution, 6)) for one in found.contributions]
        (0.0, [('a', 0.01), ('b', 0.0)])

    """
    river, vector = plain(model), dict(x)
    found = part(river, vector, target, answer, scale, background or {})
    margin = found.margin
    prediction = margin if found.link is None else found.link(margin)
    of = target if isinstance(target, str) else None
    listed = ranked(found.given, vector, names)
    return Explanation(found.base, margin, float(prediction), found.scale, found.method, listed, of)


def plain(model: Any) -> Any:
    """River's model, of whatever runs one."""
    ours = type(model).__module__.startswith("penstock.stream.learn.")
    return model.model if ours and hasattr(model, "said") else model


def part(
    model: Any, x: dict[str, Any], target: Any, answer: Answer, scale: Scale, background: Mapping[str, Any]
) -> Part:
    """The explanation of one model while it is made."""
    answered = answer(model, dict(x))
    if answered is None:
        raise CannotExplain("the model gives no answer to this vector, so there is nothing to explain")
    try:
        found = _exact(model, x, target, background)
        end = found.margin if found.link is None else found.link(found.margin)
        if abs(end - answered) <= TOLERANCE * max(1.0, abs(answered)):
            return found
    except (Unclaimed, ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        pass  # a model that is not quite what it looks like
    base, given = walked(lambda of: answer(model, of), x, background)
    against = "the means given" if any(name in background for name in x) else "the inputs left out"
    return Part(base, given, scale, f"asked input by input, forth and back, against {against}")


def _exact(model: Any, x: dict[str, Any], target: Any, background: Mapping[str, Any]) -> Part:
    """By the method for this kind of model. Raises `Unclaimed`, and what an odd model raises."""
    steps = list(model.steps.values()) if type(model) is Pipeline else [model]
    last = steps[-1]
    seen, owner = made(steps[:-1], x)
    if isinstance(last, LINEAR):
        if len(steps) == 1 and background:
            return linear(last, seen, owner, background, "the means given")
        return linear(last, seen, owner, {}, "the scaler's means" if _scaled(model) else "inputs of 0")
    if is_bayes(last):
        return bayes(last, seen, owner, target)
    if is_tree(last):
        found = tree(last, seen, target)
    elif is_forest(last):
        found = forest(last, seen, target, lambda member: _exact(member, seen, target, {}))
    else:
        raise Unclaimed(type(last).__name__)
    return found._replace(
        given=added((1.0, {owner.get(name, name): one}) for name, one in found.given.items())
    )


def _scaled(model: Any) -> bool:
    """Whether a scaler takes the mean of each number away before the model sees it."""
    found = model.transformers.values() if type(model) is TransformerUnion else ()
    found = model.steps.values() if type(model) is Pipeline else found
    return type(model) in CENTRES or any(map(_scaled, found))
