"""Figures over a run: prequential loss by month (log loss and ROC AUC, or absolute error), and what an incident cost.

Laws of this file:
- All runs of one year have the same labels in the same order, so they are compared label by label.
- Prequential: every prediction was made at its sample, before its label was known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.monitors.losses.comparison import log_losses, roc_auc

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """One value per joined label, in the order of the labels.

    Sample time (ms), outcome (true and false, or numbers), the model's and the base predictor's answer, and the sample's position
    in its log.
    """

    at: npt.NDArray[np.int64]
    y: npt.NDArray[Any]
    p: Floats
    base: Floats
    position: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, Any, Any, Any, int]]) -> Trace:
        """The columns of a fold's trace."""
        at, y, p, base, position = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        return cls(
            np.array(at, np.int64),
            np.array(y, float if y and isinstance(y[0], float) else np.bool_),
            np.array(p, float),
            np.array(base, float),
            np.array(position, np.int64),
        )

    @property
    def losses(self) -> Floats:
        """The loss of every label: nats of true and false, absolute errors of numbers."""
        return losses_of(self.y, self.p)

    @property
    def base_losses(self) -> Floats:
        """The base predictor's."""
        return losses_of(self.y, self.base)

    def __len__(self) -> int:
        return len(self.at)


def losses_of(y: npt.NDArray[Any], p: Floats) -> Floats:
    """Log losses where outcomes are true and false, absolute errors where they are numbers."""
    return log_losses(y, p) if y.dtype == np.bool_ else np.abs(y - p)


def auc_of(y: npt.NDArray[Any], p: Floats) -> float:
    """Area under the ROC curve; NaN of numbers."""
    return roc_auc(y, p) if y.dtype == np.bool_ else float("nan")


def finite(value: float) -> float | None:
    """JSON has no NaN: None for it."""
    return value if np.isfinite(value) else None


@dataclass(frozen=True)
class Month:
    """One month of a run: labels, then loss and AUC of the live model, the base predictor and the run without actions.

    `restart_loss` is that of a model that is begun anew at alarms, where it was asked for. AUC is None of numbers.
    """

    month: str
    labels: int
    live_loss: float
    base_loss: float
    passive_loss: float
    live_auc: float | None
    passive_auc: float | None
    restart_loss: float | None = None


def months(live: Trace, passive: Trace, restart: Trace | None = None) -> list[Month]:
    """The months of a run beside the same log folded with actions off, and beside a model begun anew at alarms."""
    names = np.array([datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m") for at in live.at.tolist()])
    live_losses, base_losses, passive_losses = live.losses, live.base_losses, passive.losses
    restart_losses = None if restart is None else restart.losses
    found: list[Month] = []
    for name in sorted(set(names.tolist())):
        inside = names == name
        found.append(
            Month(
                str(name),
                int(inside.sum()),
                float(live_losses[inside].mean()),
                float(base_losses[inside].mean()),
                float(passive_losses[inside].mean()),
                finite(auc_of(live.y[inside], live.p[inside])),
                finite(auc_of(passive.y[inside], passive.p[inside])),
                None if restart_losses is None else float(restart_losses[inside].mean()),
            )
        )
    return found


def after(live: Trace, clean: Trace, passive: Trace, position: int, labels: int = 4_000) -> dict[str, Any]:
    """Loss over the `labels` labels of samples predicted after log position `position`, and its ratio to the clean run."""
    chosen = np.flatnonzero(live.position > position)[:labels]
    if not len(chosen):
        return {"labels": 0}
    first, last = live.at[chosen].min(), live.at[chosen].max()
    # The clean year is another log: the same labels of it are found by the time of their samples.
    same = (clean.at >= first) & (clean.at <= last)
    sums = {
        "live": float(live.losses[chosen].mean()),
        "clean": float(clean.losses[same].mean()),
        "passive": float(passive.losses[chosen].mean()),
    }
    return {
        "labels": len(chosen),
        **sums,
        "ratio_to_clean": sums["live"] / sums["clean"],
        "passive_ratio_to_clean": sums["passive"] / sums["clean"],
    }


def weekly_ratio(trace: Trace, clean: Trace, from_ms: int, weeks: int = 8) -> list[float]:
    """Loss of a run over that of the clean run, by week from `from_ms` on."""
    ratios: list[float] = []
    losses, reference = trace.losses, clean.losses
    for week in range(weeks):
        start = from_ms + week * 7 * 86_400_000
        end = start + 7 * 86_400_000
        inside, same = (trace.at >= start) & (trace.at < end), (clean.at >= start) & (clean.at < end)
        if inside.any() and same.any():
            ratios.append(float(losses[inside].mean() / reference[same].mean()))
    return ratios
