"""What is read, shared between who reads and who draws."""

from __future__ import annotations

import threading

from penstock.stream.console.state import States


class Reading:
    """A state and the lock under which it is read and stepped: what follows the topics holds one (`reading.follow`)."""

    def __init__(self, states: States) -> None:
        self.states = states
        self.lock = threading.RLock()
