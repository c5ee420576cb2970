"""What a console knows of a flow in memory: its topics as the follower reads Kafka's, and what pages read for themselves."""

from __future__ import annotations

from types import SimpleNamespace

from starlette.testclient import TestClient

from penstock.stream.console.state import States
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.console.year import console_of
from tests.stream.naive_flow import everything


def states_of(flow: MemoryFlow) -> States:
    """The state after every record of its topics."""
    name = flow.pipeline.name
    states = States([name])
    for topic in states.topics:
        for record in everything(flow.log, topic):
            states.step(topic, record.offset, record.timestamp_ms, record.value)
    states.caught_up = True
    return states


def browser(flow: MemoryFlow, states: States | None = None) -> TestClient:
    """Somebody who looks at it; the samples log and the store are read, too."""
    sources = SimpleNamespace(log=flow.log, store=flow.models)
    states = states or states_of(flow)
    return TestClient(console_of(states, {flow.pipeline.name: flow.pipeline}, sources=sources))
