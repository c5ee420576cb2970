"""Figures over a run: prequential log loss and ROC AUC by month, and what an incident cost.

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

    Sample time (ms), outcome, the model's and the base rate's probability, and the sample's position in its log.
    """

    at: npt.NDArray[np.int64]
    y: npt.NDArray[np.bool_]
    p: Floats
    base: Floats
    position: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, bool, float, float, int]]) -> Trace:
        """The columns of a fold's trace."""
        at, y, p, base, position = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        return cls(
            np.array(at, np.int64),
            np.array(y, np.bool_),
            np.array(p, float),
            np.array(base, float),
            np.array(position, np.int64),
        )

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True)
class Month:
    """One month of a run: labels, then log loss and AUC of the live model, the base rate and the run without actions."""

    month: str
    labels: int
    live_loss: float
    base_loss: float
    passive_loss: float
    live_auc: float
    passive_auc: float


def months(live: Trace, passive: Trace) -> list[Month]:
    """The months of a run beside the same log folded with actions off."""
    names = np.array([datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m") for at in live.at.tolist()])
    live_losses, base_losses = log_losses(live.y, live.p), log_losses(live.y, live.base)
    passive_losses = log_losses(passive.y, passive.p)
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
                roc_auc(live.y[inside], live.p[inside]),
                roc_auc(passive.y[inside], passive.p[inside]),
            )
        )
    return found


def after(live: Trace, clean: Trace, passive: Trace, position: int, labels: int = 4_000) -> dict[str, Any]:
    """Log loss over the `labels` labels of samples predicted after log position `position`, and its ratio to the clean run."""
    chosen = np.flatnonzero(live.position > position)[:labels]
    if not len(chosen):
        return {"labels": 0}
    sums = {
        name: float(log_losses(trace.y[chosen], trace.p[chosen]).mean())
        for name, trace in (("live", live), ("clean", clean), ("passive", passive))
    }
    return {
        "labels": len(chosen),
        **sums,
        "ratio_to_clean": sums["live"] / sums["clean"],
        "passive_ratio_to_clean": sums["passive"] / sums["clean"],
    }


def weekly_ratio(trace: Trace, clean: Trace, from_ms: int, weeks: int = 8) -> list[float]:
    """Log loss of a run over that of the clean run, by week from `from_ms` on."""
    ratios: list[float] = []
    losses, reference = log_losses(trace.y, trace.p), log_losses(clean.y, clean.p)
    for week in range(weeks):
        start = from_ms + week * 7 * 86_400_000
        inside = (trace.at >= start) & (trace.at < start + 7 * 86_400_000)
        if inside.any():
            ratios.append(float(losses[inside].mean() / reference[inside].mean()))
    return ratios
