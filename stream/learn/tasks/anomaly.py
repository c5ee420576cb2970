"""An anomaly that labels tell of later: true or false, by a detector whose score is made a probability.

Laws of this file:
- To the fold this is the task of true and false: the calibrated probability is what experts are weighed by.
- Alerts have a budget: of `alert_share` of the events, those given the highest probability. The share of anomalies among them is
  the precision at that budget.
"""

from __future__ import annotations

from typing import Any

from penstock.stream.learn.tasks.binary import Binary
from penstock.stream.learn.tasks.calibrated import CalibratedDetector, Recent
from penstock.stream.learn.tasks.task import W
from penstock.stream.task_kind import Kind


class Anomaly(Binary):
    """See `Task`. It keeps the newest predictions that were labelled, to tell which of them an alert would have been."""

    kind: Kind = "anomaly"

    def __init__(self, alert_share: float) -> None:
        self.alert_share = alert_share
        self.recent = Recent()
        self.alerts = self.right = self.anomalies = 0

    def fresh(self, model: Any) -> Any:
        """A clone, calibrated."""
        return CalibratedDetector(model.clone())

    def heard(self, waits: W, y: bool) -> tuple[W, bool]:
        """As it is; the measures take it."""
        alert = self.recent.rank(waits.p) > 1.0 - self.alert_share
        self.recent.add(waits.p)
        self.alerts += alert
        self.right += alert and y
        self.anomalies += y
        return waits, y

    def measures(self) -> dict[str, float]:
        """Precision and recall at the alert budget."""
        found = {"alert_precision": self.right / self.alerts} if self.alerts else {}
        return {**found, "alert_recall": self.right / self.anomalies} if self.anomalies else found
