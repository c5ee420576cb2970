"""Which models the compiled arithmetic of `linear.pyx` is that of, decided by what river's objects hold.

Laws of this file:
- Exact types and exact attributes: a subclass, another river or an object that somebody changed is not claimed.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from typing import Any

from river.compose import Pipeline
from river.linear_model import LinearRegression, LogisticRegression
from river.optim import SGD
from river.optim.losses import Log, Squared
from river.optim.schedulers import Constant
from river.preprocessing import StandardScaler
from river.utils import VectorDict

_PIPELINE = frozenset(vars(Pipeline())) | {"_last_step_params"}
_SCALER = frozenset(vars(StandardScaler()))
_REGRESSION = frozenset(vars(LinearRegression()))
_SGD = frozenset(vars(SGD(0.1)))
_CONSTANT = frozenset(vars(Constant(0.1)))
_LOSSES: dict[type, type] = {LogisticRegression: Log, LinearRegression: Squared}
_LOG = vars(Log(1.0, 1.0))
_MOST = 2.0**52
"""Numbers of parameters beyond this are not claimed: an integer so large need not be a float."""


def claimed(model: Any) -> tuple[Any, Any] | None:
    """The scaler, or None, and the estimator of a model of this kind; None for every other one."""
    if type(model) is not Pipeline:
        return (None, model) if _is_regression(model) else None
    if not vars(model).keys() <= _PIPELINE or type(model.steps) is not OrderedDict:
        return None
    steps = list(model.steps.values())
    if not 1 <= len(steps) <= 2 or not _is_regression(steps[-1]):
        return None
    if len(steps) == 1:
        return None, steps[0]
    return (steps[0], steps[1]) if _is_scaler(steps[0]) else None


def _is_scaler(scaler: Any) -> bool:
    if type(scaler) is not StandardScaler or vars(scaler).keys() != _SCALER or scaler.window_size is not None:
        return False
    means, variances = scaler.means, scaler.vars
    plain = all(type(one) is defaultdict and one.default_factory is float for one in (means, variances))
    return plain and type(scaler.counts) is Counter and type(scaler.with_std) is bool


def _is_regression(last: Any) -> bool:
    if type(last) not in _LOSSES or vars(last).keys() != _REGRESSION:
        return False
    loss, sgd = last.loss, last.optimizer
    if type(loss) is not _LOSSES[type(last)] or type(sgd) is not SGD or vars(sgd).keys() != _SGD:
        return False
    if vars(loss) != (_LOG if type(loss) is Log else {}) or type(last._weights) is not VectorDict:
        return False
    if not all(map(_is_number, (last.l1, last.l2))) or last.l1 != 0:
        return False
    clips = _is_number(last.clip_gradient) or last.clip_gradient == float("inf")
    return clips and _is_constant(sgd.lr) and _is_constant(last.intercept_lr)


def _is_constant(rate: Any) -> bool:
    return type(rate) is Constant and vars(rate).keys() == _CONSTANT and _is_number(rate.learning_rate)


def _is_number(value: Any) -> bool:
    return type(value) is float and value - value == 0.0 or type(value) is int and abs(value) <= _MOST
