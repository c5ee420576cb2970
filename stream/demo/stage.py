"""The processes of a run on Kafka: every role, and beside them the console, which people may look at meanwhile.

Laws of this file:
- The console takes what the roles leave: it has a low priority, nobody waits for it, and its end is no end of the run.
- Roles that were ended can be begun again: they go on where they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from penstock.stream.demo.processes import READY_S, DemoFailed, Role
from penstock.stream.stack.server import free_ports

CONSOLE_NICE = 10
"""Where processes want more CPU than there is, one of this nice value gets about a tenth of what any other gets."""
LOOK_S = 0.5


class Stage:
    """The roles of one pipeline by name, with what is added to the command line of each."""

    def __init__(
        self,
        definition: str,
        roles: Mapping[str, Sequence[str]],
        environment: Mapping[str, str],
        folder: Path,
        console_nice: int = CONSOLE_NICE,
    ) -> None:
        self.definition, self.roles, self.environment, self.folder = definition, roles, environment, folder
        self.console_nice = console_nice
        self.console_port = free_ports(1)[0]
        self.running: list[Role] = []
        self.console: Role | None = None

    @property
    def address(self) -> str:
        """Where the console's pages are."""
        return f"http://127.0.0.1:{self.console_port}/"

    def begin(self, patience_s: float = READY_S) -> None:
        """Start every role, and wait until each is ready; raises `DemoFailed` where one is not after so long."""
        for name, more in self.roles.items():
            self.running.append(Role(name, self.definition, self.environment, self.folder, more))
        for role in self.running:
            role.wait_ready(patience_s)

    def end(self) -> None:
        """End every role. Raises `DemoFailed` for one that ended with an error."""
        roles, self.running = self.running, []
        for role in roles:
            role.stop()
        for role in roles:
            role.check()

    def show(self) -> None:
        """Start the console; it answers some seconds later, on the same port each time."""
        self.hide()
        self.console = Role(
            "console",
            self.definition,
            self.environment,
            self.folder,
            port=self.console_port,
            nice=self.console_nice,
        )

    def hide(self) -> None:
        """End the console."""
        if self.console is not None:
            self.console.stop()
            self.console = None

    def close(self) -> None:
        """End everything, however it went."""
        self.hide()
        for role in self.running:
            role.stop()

    def stay(self, stopped: Callable[[], bool]) -> None:
        """Let it run until told to stop. Raises `DemoFailed` when a role ends by itself."""
        while not stopped():
            for role in self.running:
                role.check()
                if role.ended:
                    raise DemoFailed(f"{role.name} has ended; its last lines:\n{role.last_lines()}")
            time.sleep(LOOK_S)
