"""A server process on a free loopback port, with its own folder, that dies with us.

Laws that hold here:

- A server runs in its own session (Ctrl-C reaches us, not it) behind a watchdog process (`watchdog.py`): whichever way this
  process ends, `kill -9` included, the server ends and its folder goes. A child of ours made by a bare `fork` keeps it alive.
- `start` returns when the server answers, or raises `StackError` with the end of its log.
- `after` has run when `close` returns, also if the server ended by itself.
- After `kill` or `terminate` the folder and the address stay, and `start` brings the same server back.
- With `keep` the folder stays whatever happens, for a later process to start a server on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

_WATCHDOG = Path(__file__).with_name("watchdog.py")
_LOG_LINES = 20
_CLOSE_S = 30.0
_AFTER_S = 60.0


class StackError(RuntimeError):
    """A server could not be found or started. The text says which, why, and what to do."""


class Server:
    """One server process.

    `command` runs it in the foreground. `answers` gives True once it serves, and must not block much longer than a second.
    `advice` ends the error message when it does not start. `after` runs when it was closed, `grace_s` is how long it may
    take from SIGTERM to its end then (0: kill at once, the folder is temporary). With `keep` the folder is not removed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        answers: Callable[[], bool],
        *,
        start_s: float = 180.0,
        grace_s: float = 0.0,
        after: Sequence[str] = (),
        advice: str = "",
        keep: bool = False,
    ) -> None:
        self.name = name
        self.keep = keep
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.pid = 0
        self._command = list(command)
        self._answers = answers
        self._start_s, self._grace_s = start_s, grace_s
        self._after = list(after)
        self._advice = advice
        self._watchdog: subprocess.Popen[str] | None = None
        self._launched = False

    def start(self) -> None:
        """Start it and wait until it answers."""
        if self.running:
            return
        try:
            self._launch()
            self._wait_until_up()
        except BaseException:
            self.close()
            raise

    def _launch(self) -> None:
        options = {
            "command": self._command,
            "log": str(self.log),
            "grace_s": self._grace_s,
            "after": self._after,
            "remove": "" if self.keep else str(self.folder),
        }
        self._launched = True
        with self.log.open("ab") as log:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WATCHDOG), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._watchdog.stdout is not None
        line = self._watchdog.stdout.readline()
        if not line:
            raise self._failure("could not be run")
        self.pid = int(line)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + self._start_s
        while not self._answers():
            if not self.running:
                raise self._failure("ended while starting")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {self._start_s:g} s")
            time.sleep(0.02)

    @property
    def started_by(self) -> str:
        """The program that runs it, such as `java` or `docker`."""
        return Path(self._command[0]).name

    @property
    def running(self) -> bool:
        """Whether the process lives (it may be paused)."""
        return self._watchdog is not None and self._watchdog.poll() is None

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), and wait until it is gone."""
        self._signal(signal.SIGKILL)
        self._gone()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), and wait until it is gone."""
        self._signal(signal.SIGTERM)
        self._gone()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): it keeps its connections and answers nobody."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it for good and, unless it is to be kept, remove its folder. Closing twice is harmless."""
        cleaned = not self._launched
        if self._watchdog is not None and self._watchdog.stdin is not None:
            if cleaned := self.running:
                self._signal(signal.SIGCONT)  # a paused process would sit out its SIGTERM
            self._watchdog.stdin.close()
            self._gone()
        self._launched = False
        if self._after and not cleaned:  # the watchdog ended with a server that ended by itself
            subprocess.run(
                self._after, stdin=subprocess.DEVNULL, capture_output=True, timeout=_AFTER_S, check=False
            )
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def _gone(self) -> None:
        if self._watchdog is None:
            return
        try:
            self._watchdog.wait(self._grace_s + _CLOSE_S)
        except subprocess.TimeoutExpired:
            self._watchdog.kill()
            self._watchdog.wait()
        for pipe in (self._watchdog.stdin, self._watchdog.stdout):
            if pipe is not None:
                pipe.close()
        self._watchdog = None

    def _failure(self, what: str) -> StackError:
        tail = last_lines(self.log.read_text(errors="replace")) or "  | (its log is empty)"
        return StackError(f"{self.name} {what}. The end of its log:\n{tail}\n{self._advice}".rstrip())


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports nothing listens on at this moment on the loopback interface."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def same_ports(former: Sequence[int]) -> list[int]:
    """These ports if nothing listens on any of them now, otherwise as many others."""
    with ExitStack() as closing:
        try:
            for port in former:
                sock = closing.enter_context(socket.socket())
                # As servers do: connections that have just ended are no reason to move.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("127.0.0.1", port))
        except OSError:
            return free_ports(len(former))
    return list(former)


def last_lines(text: str, count: int = _LOG_LINES) -> str:
    """The end of a program's output, indented for an error message."""
    return "\n".join(f"  | {line}" for line in text.strip().splitlines()[-count:])
