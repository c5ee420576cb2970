"""Looks at processes from outside: how much they hold, and whether what they say of themselves is true.

Laws of this file:
- Nothing is asked of the roles but their health pages; positions are those that their groups committed.
- A role lies while it says that it is ready, has something left to do, and nothing of it moved since its last look.
"""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.patience import PATIENCE_S

PAGE_S = 0.5
MB = 1 << 20


class Held(NamedTuple):
    """What a process holds: resident memory in MB, open files and threads."""

    rss_mb: float
    files: int
    threads: int


def held(pid: int) -> Held | None:
    """What a process holds now; None when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        said = dict(line.split(":", 1) for line in lines if ":" in line)
        files = len(os.listdir(f"/proc/{pid}/fd"))
        return Held(int(said["VmRSS"].split()[0]) / 1024, files, int(said["Threads"]))
    except (OSError, KeyError):
        return None


def lives(port: int) -> bool:
    """Whether whoever looks at a role's page leaves it alone; one that does not answer is starting, or gone."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=PAGE_S):
            return True
    except urllib.error.HTTPError:
        return False
    except OSError:
        return True


def ready(port: int) -> tuple[bool, str]:
    """What a role's page says: whether it is ready, and what is missing."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PAGE_S) as page:
            return page.status == 200, ""
    except urllib.error.HTTPError as error:
        return False, error.read().decode()
    except OSError as error:
        return False, str(error)


class Seen:
    """What was seen of one role."""

    def __init__(self) -> None:
        self.most = Held(0.0, 0, 0)
        self.false_s = 0.0
        self.unhealthy = 0
        self.said: set[str] = set()
        self.moved: tuple[Any, float] = (None, time.monotonic())
        self.ready_since = 0.0

    def look(self, role: Any, port: int, position: Any, left: int) -> None:
        """Look once: `position` is what its group committed, `left` how many records it has not."""
        now = time.monotonic()
        found = held(role.process.pid) if role.process is not None else None
        if found is not None:
            self.most = Held(*(max(pair) for pair in zip(self.most, found, strict=True)))
        if position != self.moved[0] or not left:
            self.moved = (position, now)
        self.unhealthy += not lives(port)
        says, why = ready(port)
        self.ready_since = (self.ready_since or now) if says else 0.0
        if says:
            self.false_s = max(self.false_s, now - max(self.moved[1], self.ready_since))
        else:
            self.said |= {line.partition(":")[0] for line in why.splitlines() if line.startswith("not ")}


class Watch:
    """Looks at roles in a thread, every so often. `of` gives by role name: its process, page, position and what is left."""

    def __init__(self, of: Callable[[], dict[str, tuple[Any, int, Any, int]]], every_s: float = 0.25) -> None:
        self.of, self.every_s = of, every_s
        self.seen: dict[str, Seen] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.over.wait(self.every_s):
            with suppress(Exception):  # a role that is being started, or a broker that is away
                for name, given in self.of().items():
                    self.seen.setdefault(name, Seen()).look(*given)

    def close(self) -> dict[str, Seen]:
        """What was seen."""
        self.over.set()
        self.thread.join(PATIENCE_S)
        return self.seen
