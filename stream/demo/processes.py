"""The demo's processes: the roles and the producer, each a process of its own with its output in a file.

Laws of this file:
- A role that dies ends the demo with the last lines it wrote; nothing is left running when the demo ends, however it ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path

from penstock.stream.stack.server import free_ports

READY_S = 180.0
"""A busy machine takes minutes to start what an idle one starts in seconds; a process that ends is noticed at once."""
SAY_S = 10.0
STOP_S = 20.0


class DemoFailed(RuntimeError):
    """The demo cannot go on, or a proof failed."""


def cpu_of(pid: int) -> tuple[str, float] | None:
    """The name of a process, and the CPU seconds of its threads and of its ended children; None where Linux's /proc is not."""
    place = Path(f"/proc/{pid}/stat")
    if not place.exists():
        return None
    name, _, rest = place.read_text().partition("(")[2].rpartition(")")
    return name, sum(map(int, rest.split()[11:15])) / os.sysconf("SC_CLK_TCK")


class Process:
    """One child process; its standard output and error go to `<folder>/<name>.log`. `nice` lowers its priority."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        nice: int = 0,
    ) -> None:
        self.name = name
        self.path = folder / f"{name}.log"
        with self.path.open("wb") as output:
            self.child = subprocess.Popen(
                [sys.executable, *arguments], env=dict(environment), stdout=output, stderr=subprocess.STDOUT
            )
        if nice:  # its threads are not there yet, and take it over
            os.setpriority(os.PRIO_PROCESS, self.child.pid, nice)

    def last_lines(self, count: int = 12) -> str:
        """The end of what it wrote."""
        return "\n".join(self.path.read_text(errors="replace").splitlines()[-count:])

    def cpu_s(self) -> float:
        """CPU seconds that it has used; not a number where that is not known."""
        found = cpu_of(self.child.pid)
        return nan if found is None else found[1]

    def check(self) -> None:
        """Raise `DemoFailed` if it ended with an error."""
        code = self.child.poll()
        if code not in (None, 0):
            raise DemoFailed(f"{self.name} ended with exit code {code}; its last lines:\n{self.last_lines()}")

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.child.poll() is not None

    def stop(self) -> None:
        """Ask it to end and wait; after `STOP_S` it is killed."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Role(Process):
    """A role of the pipeline (of several, by their files) with its health page, on a free port unless one is given."""

    def __init__(
        self,
        role: str,
        definition: str | Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        more: Sequence[str] = (),
        *,
        port: int = 0,
        nice: int = 0,
    ) -> None:
        self.port = port or free_ports(1)[0]
        line = [
            "-m",
            "penstock.stream.cli",
            "run",
            *([definition] if isinstance(definition, str) else definition),
            "--role",
            role,
            "--port",
            str(self.port),
            *more,
        ]
        super().__init__(role, line, environment, folder, nice)

    def page(self) -> str:
        """What its metrics page says now; raises `DemoFailed` when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
                return str(page.read().decode())
        except OSError as error:
            raise DemoFailed(f"the metrics page of {self.name} does not answer: {error}") from error

    def wait_ready(
        self,
        patience_s: float = READY_S,
        *,
        say: Callable[[str], None] = lambda line: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Until /readyz answers 200: True; False once `stopped` says so. `say` hears every `SAY_S` that this still waits.

        Raises `DemoFailed` where the process ends, and after `patience_s`.
        """
        began_s = said_s = time.monotonic()
        answer = "no answer"
        while not stopped():
            self.check()
            if self.ended:
                raise DemoFailed(
                    f"{self.name} ended before it was ready; its last lines:\n{self.last_lines()}"
                )
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as page:
                    if page.status == 200:
                        return True
            except urllib.error.HTTPError as error:
                answer = error.read().decode(errors="replace").strip()
            except OSError as error:
                answer = f"its page does not answer yet: {getattr(error, 'reason', error)}"
            now_s = time.monotonic()
            if now_s - began_s >= patience_s:
                raise DemoFailed(self._late(now_s - began_s, answer))
            if now_s - said_s >= SAY_S:
                said_s = now_s
                say(f"waiting for {self.name}, {now_s - began_s:.0f} s now ({answer})")
            time.sleep(0.05)
        return False

    def _late(self, waited_s: float, answer: str) -> str:
        """That it was waited for in vain, and what to do."""
        said = self.last_lines().strip()
        return (
            f"{self.name} runs, but is not ready after {waited_s:.0f} s ({answer}). If the machine is busy with something else, "
            "let that end and give the same command again. "
            + (
                f"Otherwise its last lines say what it waits for:\n{said}"
                if said
                else "It has written nothing yet."
            )
        )
