"""Retrains that run beside the fold: begun where a command asks for one, begun again where one failed, given up in the log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping

from penstock.stream.learn.records import Job
from penstock.stream.learn.retrain import Retrainer
from penstock.stream.messages import Command

logger = logging.getLogger("penstock.learn")

MOST_ATTEMPTS = 3


class Jobs:
    """The jobs of one learn worker. `running` names the commands of those it began since it took its task up."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.attempts: Counter[str] = Counter()

    def start(self, wanted: Mapping[str, Job], retrainer: Retrainer) -> None:
        """Begin those that do not run yet."""
        for command_id, job in wanted.items():
            if command_id not in self.running:
                self.running.add(command_id)
                retrainer.start(command_id, job)

    def given_up(self, retrainer: Retrainer) -> Iterator[Command]:
        """Let a failed job begin again, `MOST_ATTEMPTS` times in all; then an adopt without a version ends it, in the log."""
        for command_id in retrainer.failed():
            self.attempts[command_id] += 1
            if self.attempts[command_id] < MOST_ATTEMPTS:
                self.running.discard(command_id)
                continue
            why = f"its retrain failed {MOST_ATTEMPTS} times"
            logger.warning("%s: %s", command_id, why)
            yield Command(f"adopt-{command_id}", "adopt", reason=why, by="learn")
