"""Estimated performance, while labels are missing: what the predictions themselves expect to lose.

Laws of this file:
- Told as a suspicion and never as more: nothing is asked for, nobody is woken, and no model is touched.
- For labels that are true or false. Classes, numbers and pipelines without labels have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.monitors.losses.expected import ExpectedLoss
from penstock.stream.learn.records import Pending
from penstock.stream.learn.watching.watcher import Finding, Watcher
from penstock.stream.messages import Sample


class Estimate(Watcher):
    """Watches what the live prediction expects to lose."""

    def __init__(self, alarms_per_year: float) -> None:
        self.expected = ExpectedLoss(alarms_per_year)
        self.base = 0.5

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """What was said of a sample. The base rate is the one that the newest label's sample was held against."""
        found = self.expected.sample(at, position, said, self.base)
        return [Finding(one, "note", _words(one.state, one.detail)) for one in found] if found else ()

    def label(
        self, at: int, position: int, waits: Pending, y: Any, live: float, base: float
    ) -> Sequence[Finding]:
        """The label of a sample: was the expected loss right?"""
        self.base = waits.base
        self.expected.label(waits.position, waits.p, y)
        return ()

    def measures(self) -> dict[str, float]:
        """Nats: what the newest samples are expected to lose, what the newest labels lost, and what labels add to the former."""
        expected = self.expected
        named = {
            "expected_loss": expected.loss,
            "realised_loss": expected.realised,
            "expected_loss_gap": expected.gap,
        }
        return {name: value for name, value in named.items() if value is not None}


def _words(state: str, detail: dict[str, object]) -> str:
    if state == "resolved":
        return f"the suspicion is over: {detail['why']}"
    return (
        f"{detail['without_label']:,} samples wait for their labels, and the predictions themselves expect to lose more on them "
        "than before; labels will tell"
    )
