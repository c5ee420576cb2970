"""A console that answers on a port of this machine, from a state in memory that a test steps as it likes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from penstock.stream.console.app import Console
from penstock.stream.console.state import States
from penstock.stream.definitions import Pipeline
from penstock.stream.process.clock import wall_ms
from penstock.stream.roles.http import listening
from tests.patience import PATIENCE_S, eventually
from tests.stream.console.year import Line, console_of, status_of


class LookedAt:
    """A console and where it is; `tell` gives it more records, `end` and `begin` are a restart of its process."""

    def __init__(self, states: States, definitions: dict[str, Pipeline], **options: Any) -> None:
        self.states, self.definitions, self.options = states, definitions, options
        self.port = 0
        self.begin()

    @property
    def address(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Answer, on the same port as before."""
        self.console: Console = console_of(self.states, self.definitions, **self.options)
        made = listening("127.0.0.1", self.port)
        self.port = made.getsockname()[1]
        config = uvicorn.Config(self.console, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [made]}, daemon=True)
        self.thread.start()
        assert eventually(lambda: self.server.started)

    def end(self) -> None:
        """Answer no more."""
        self.console.stopping = True
        self.server.should_exit = True
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()

    def tell(self, lines: Iterable[Line], name: str = "") -> None:
        """Step the state; with a `name` look at the pipeline, too."""
        with self.console.reading.lock:
            for line in lines:
                self.states.step(line.topic, line.offset, line.wall_ms, line.value)
            if name:
                self.states.looked(name, status_of(self.states, name), wall_ms())


@contextmanager
def looked_at(states: States, definitions: dict[str, Pipeline], **options: Any) -> Iterator[LookedAt]:
    """A console until the end of the block."""
    made = LookedAt(states, definitions, **options)
    try:
        yield made
    finally:
        made.end()
