"""Hoeffding trees and forests of them: Shapley values by the weights that a tree's leaves counted (path-dependent TreeSHAP).

Laws of this file:
- Exact for the game that path-dependent TreeSHAP plays: an input that is not known sends the vector down every branch, by the
  share of the labels that went there. Between inputs that go together that is not the conditional expectation.
- TreeSHAP and not the cheaper path contributions (Saabas), which favour the splits near the leaves.
- A leaf that answers by a model of its own (naive Bayes, linear) counts with what it says of no input; what it says more of this
  vector is explained in the leaf that the vector reached, so the tree as a whole still adds up.
- A forest's answer is a sum over its trees, and so is its explanation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import factorial, isclose, log, prod
from operator import mul
from typing import Any

from river.ensemble import BaggingClassifier, BaggingRegressor
from river.forest import ARFClassifier, ARFRegressor
from river.tree import HoeffdingTreeClassifier, HoeffdingTreeRegressor
from river.tree.nodes.branch import DTBranch

from penstock.stream.explain.additive import logistic
from penstock.stream.explain.explanation import Part, Scale, Unclaimed, added
from penstock.stream.explain.walk import walked

Path = dict[str, tuple[float, float]]
"""Of each input on the way to a leaf: the share of the labels that passes its splits, and whether the vector does (1 or 0)."""
PartOf = Callable[[Any], Part]


def is_tree(model: Any) -> bool:
    """Whether it answers as a Hoeffding tree does: the leaf that the vector reaches."""
    kind = type(model)
    if isinstance(model, HoeffdingTreeClassifier):
        return kind.predict_proba_one is HoeffdingTreeClassifier.predict_proba_one
    return (
        isinstance(model, HoeffdingTreeRegressor) and kind.predict_one is HoeffdingTreeRegressor.predict_one
    )


def is_forest(model: Any) -> bool:
    """Whether it answers by a mean over its members."""
    kind = type(model)
    if isinstance(model, ARFClassifier | BaggingClassifier):
        own = ARFClassifier if isinstance(model, ARFClassifier) else BaggingClassifier
        return kind.predict_proba_one is own.predict_proba_one
    return kind in (ARFRegressor, BaggingRegressor)


def tree(model: Any, x: dict[str, Any], target: Any) -> Part:
    """Of one tree that sees `x`: of the probability of the class `target`, or of the number."""
    classifies = isinstance(model, HoeffdingTreeClassifier)
    scale: Scale = "probability" if classifies else "number"
    method = "path-dependent TreeSHAP, exact"
    root = model._root
    if root is None:
        return Part(0.0, {}, scale, method)

    def says(leaf: Any, of: dict[str, Any]) -> float:
        said = leaf.prediction(of, tree=model)
        return float(said.get(target, 0.0) if classifies else said)

    base, given, reached = _shared(root, x, lambda leaf: says(leaf, {}))
    of_none, of_all = says(reached, {}), says(reached, x)
    if of_none != of_all:
        within = _within(reached, x, lambda of: says(reached, of), of_none, of_all)
        given = added([(1.0, given), (1.0, within)])
        method = "path-dependent TreeSHAP, then the leaf's own model from its answer to no input"
    return Part(base, given, scale, method)


def _within(
    leaf: Any, x: dict[str, Any], says: Callable[[dict[str, Any]], float], none: float, every: float
) -> dict[str, float]:
    """What each input adds to the answer of a leaf's own model: by log-odds where these add up, else by a walk."""
    if isinstance(leaf.stats, dict) and len(leaf.stats) == 2 and 0.0 < none < 1.0:
        single = {name: says({name: value}) for name, value in x.items()}
        if all(0.0 < one < 1.0 for one in single.values()):
            base = _odds(none)
            part = Part(
                base, {name: _odds(one) - base for name, one in single.items()}, "log-odds", "", logistic
            )
            if isclose(logistic(part.margin), every, rel_tol=1e-12, abs_tol=1e-12):
                return part.answered("probability").given
    return walked(says, x, {})[1]


def _odds(p: float) -> float:
    return log(p / (1.0 - p))


def _shared(
    root: Any, x: Mapping[str, Any], value: Callable[[Any], float]
) -> tuple[float, dict[str, float], Any]:
    """(expected value of a leaf, each input's Shapley value, the leaf that `x` reaches)."""
    base, given, reached = 0.0, dict[str, float](), root
    weights: dict[int, float] = {}
    _weigh(root, weights)
    stack: list[tuple[Any, float, bool, Path]] = [(root, 1.0, True, {})]
    while stack:
        node, share, here, path = stack.pop()
        if not isinstance(node, DTBranch):
            reached = node if here else reached
            worth = value(node)
            base += share * worth
            if worth:
                for on_path, one in _shapley(path).items():
                    given[on_path] = given.get(on_path, 0.0) + worth * one
            continue
        split: Any = node
        taken, name = _taken(split, x), split.feature
        before = path.get(name, (1.0, 1.0))
        total = weights[id(node)]
        for place, child in enumerate(node.children):
            part = weights[id(child)] / total if total > 0.0 else 1.0 / len(node.children)
            passes = before[1] if place == taken else 0.0
            further = {**path, name: (before[0] * part, passes)}
            stack.append((child, share * part, here and place == taken, further))
    return base, given, reached


def _weigh(node: Any, weights: dict[int, float]) -> float:
    """The labels below each node, by its id."""
    own = (
        sum(_weigh(child, weights) for child in node.children)
        if isinstance(node, DTBranch)
        else float(node.total_weight)
    )
    weights[id(node)] = own
    return own


def _taken(node: Any, x: Mapping[str, Any]) -> int:
    """The branch that the vector takes; where its input is missing, the one that most labels took, as river does it."""
    try:
        return int(node.branch_no(x))
    except KeyError:
        return int(node.most_common_path()[0])


def _shapley(path: Path) -> dict[str, float]:
    """The Shapley values of one leaf's game: the product over the inputs on the way, each its share unless it is known.

    A known input passes (1) or does not (0). `whole` is the product of the shares of those that do not; what one of them takes
    away is the same for all. `counts` has, by how many of those that pass are known, the sum of the products of the others.
    """
    closed = [name for name, (_, own) in path.items() if not own]
    whole, counts = prod(path[name][0] for name in closed), [1.0]
    if not whole:
        return {}
    for share, own in path.values():
        if own:
            counts = _times(counts, share)
    chances = _chances(len(path))
    found = {}
    if closed:
        found = dict.fromkeys(closed, -whole * sum(map(mul, chances, counts)))
    for name, (share, own) in path.items():
        if own and share < 1.0:
            found[name] = (1.0 - share) * whole * sum(map(mul, chances, _without(counts, share)))
    return found


@cache
def _chances(many: int) -> tuple[float, ...]:
    """How probable each set of so many others is to be known before an input, of `many` inputs in all."""
    return tuple(factorial(known) * factorial(many - 1 - known) / factorial(many) for known in range(many))


def _times(counts: Sequence[float], share: float) -> list[float]:
    """The polynomial `counts` times (share + t).

    >>> _times(_times([1.0], 0.5), 0.25), _without([0.125, 0.75, 1.0], 0.25)
    ([0.125, 0.75, 1.0], [0.5, 1.0])
    """
    return [low * share + high for low, high in zip([*counts, 0.0], [0.0, *counts], strict=True)]


def _without(counts: Sequence[float], share: float) -> list[float]:
    """The polynomial `counts` divided by (share + t), from its highest power down: a share is at most 1, so errors shrink."""
    found = [counts[-1]]
    for one in counts[-2:0:-1]:
        found.append(one - share * found[-1])
    return found[::-1]


def forest(model: Any, x: dict[str, Any], target: Any, part_of: PartOf) -> Part:
    """Of a mean over members, each explained by `part_of`. Raises `Unclaimed` where there is no such sum."""
    if not len(model):
        raise Unclaimed("no member yet")  # asked for a prediction, it would make them
    classifies = isinstance(model, ARFClassifier | BaggingClassifier)
    scale: Scale = "probability" if classifies else "number"
    weights = _of_classifier(model, x) if classifies else _of_regressor(model)
    parts = [part_of(member).answered(scale) for member in model]
    base = sum(weight * part.base for weight, part in zip(weights, parts, strict=True))
    given = added((weight, part.given) for weight, part in zip(weights, parts, strict=True))
    return Part(
        base,
        given,
        scale,
        f"mean of {len(parts)} members: {'; '.join(sorted({one.method for one in parts}))}",
    )


def _of_classifier(model: Any, x: dict[str, Any]) -> list[float]:
    """What each member's probabilities are multiplied by, as river does it: its accuracy, and all of them add up to 1."""
    weights, total = [], 0.0
    for place, member in enumerate(model):
        weight = 1.0
        if isinstance(model, ARFClassifier) and not model.disable_weighted_vote:
            metric = float(model._metrics[place].get())
            weight = metric if metric > 0.0 else 1.0
        weights.append(weight)
        total += weight * sum(member.predict_proba_one(x).values())
    if not total > 0.0:
        raise Unclaimed("no member knows a class")
    return [weight / total for weight in weights]


def _of_regressor(model: Any) -> list[float]:
    many = len(model)
    if isinstance(model, ARFRegressor):
        if model.aggregation_method == model._MEDIAN:
            raise Unclaimed("a median")
        if not model.disable_weighted_vote:
            errors = [float(one.get()) for one in model._metrics]
            total = sum(errors)
            rest = sum(total - one for one in errors)
            if total and rest:
                return [(total - one) / rest / many for one in errors]
    return [1.0 / many] * many
