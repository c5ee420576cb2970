"""Models that add up by themselves: linear ones, and naive Bayes in log-odds.

Laws of this file:
- Exact: the Shapley values of the margin, inputs being independent (linear) or given the class (naive Bayes).
- A linear model's background is 0 in what it sees: behind a scaler that is the mean of each input, of an encoder's column its
  absence, and a missing input contributes what its absence does. With no step before it, the means that are given, or 0.
- Naive Bayes' background is to know nothing of an input: the base is the prior odds.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import Any

from river.linear_model import LinearRegression, LogisticRegression
from river.naive_bayes.base import BaseNB

from penstock.stream.explain.explanation import Part, Scale, Unclaimed

LINEAR = (LinearRegression, LogisticRegression)


def linear(
    model: Any, seen: Mapping[str, Any], owner: Mapping[str, str], background: Mapping[str, Any], against: str
) -> Part:
    """Of a linear model that sees `seen`; `against` says in words what its background is."""
    weights, link = model.weights, model.loss.mean_func
    base, given = float(model.intercept), dict[str, float]()
    for name, of in background.items():
        if name in weights and isinstance(of, int | float):
            base += weights[name] * of
            given[name] = -weights[name] * of
    for name, value in seen.items():
        weight = weights.get(name, 0.0)
        given[owner[name]] = given.get(owner[name], 0.0) + weight * value
    scale: Scale = "log-odds" if isinstance(model, LogisticRegression) else "number"
    return Part(base, given, scale, f"linear, exact, against {against}", link)


def bayes(model: Any, seen: Mapping[str, Any], owner: Mapping[str, str], target: Any) -> Part:
    """Of a naive Bayes model of two classes, from its own log likelihoods. Raises `Unclaimed` for more, or for fewer."""
    ask = model.joint_log_likelihood
    prior = ask({})
    if target not in prior or len(prior) != 2:
        raise Unclaimed("naive Bayes of two classes")
    (other,) = (name for name in prior if name != target)

    def odds(of: dict[str, Any]) -> float:
        said = ask(of)
        return float(said[target] - said[other])

    base = odds({})
    given: dict[str, float] = {}
    for name, value in seen.items():
        given[owner[name]] = given.get(owner[name], 0.0) + odds({name: value}) - base
    return Part(base, given, "log-odds", "naive Bayes, exact in log-odds, against the prior odds", logistic)


def is_bayes(model: Any) -> bool:
    """Whether it answers by the log likelihoods that it gives."""
    return isinstance(model, BaseNB) and type(model).predict_proba_one is BaseNB.predict_proba_one


def logistic(odds: float) -> float:
    """The probability of log-odds.

    >>> logistic(0.0), logistic(-1000.0), logistic(1000.0)
    (0.5, 0.0, 1.0)
    """
    if odds < 0.0:
        small = exp(max(odds, -745.0)) if odds > -745.0 else 0.0
        return small / (1.0 + small)
    return 1.0 / (1.0 + exp(-odds))
