"""What the numbers of a control role without an app of its own mean on its health page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.stream import topology
from penstock.stream.log.protocol import Out
from penstock.stream.messages import decode_decision
from penstock.stream.process.health_page import Health
from penstock.stream.roles.metrics import Growth

if TYPE_CHECKING:
    from penstock.stream.control.kept import KeptControl


class ControlReport:
    """Tells the page what a `KeptControl` did."""

    def __init__(self, health: Health, prefix: str) -> None:
        self.health, self.audit = health, prefix + topology.CONTROL_DECISIONS
        self.growth = Growth()

    def batch(self, worker: KeptControl) -> None:
        """Report one turn."""
        health, state = self.health, worker.state
        health.turned()
        health.ready({"assigned": worker.assigned, "recovered": state is not None})
        health.unreadable_records.inc(self.growth.of("unreadable", worker.unreadable))
        if state is None:
            return
        health.commands_open.set(len(state.sending))
        health.requests_waiting.set(len(state.waiting))
        for topic, position in state.positions.items():
            health.position.labels(topic, "0").set(position)
        for topic, count in worker.read.items():
            health.records.labels(topic).inc(self.growth.of(topic, count))

    def sent(self, outs: Sequence[Out]) -> None:
        """Report commands and decisions that were sent."""
        for out in outs:
            if out.topic != self.audit:
                self.health.commands_sent.inc()
                continue
            decision = decode_decision(out.value or b"")
            self.health.decisions.labels(decision.verb, decision.verdict).inc()
