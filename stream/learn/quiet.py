"""Learn while history is read from files: it learns all of it, and tells nobody what is long past.

Laws of this file:
- The fold, its snapshots, versions and history are what they are in any learn role: only what is published differs. No prediction
  is, because nobody waits for one of years ago, and no control event, because nobody is to do anything about it any more.
"""

from __future__ import annotations

from typing import Any

from penstock.stream.learn.fold import Fold
from penstock.stream.learn.worker import LearnWorker


class QuietLearnWorker(LearnWorker):
    """A learn worker that publishes which model is live and how the pipeline did, and nothing else."""

    def __init__(self, *given: Any, **named: Any) -> None:
        # Nobody decides on what is not asked.
        super().__init__(*given, **{**named, "decision_wait_s": 0.0})

    def _write(self, fold: Fold, position: int, now: int) -> None:
        fold.outputs.predictions.clear()
        fold.drift.requests.clear()
        super()._write(fold, position, now)
