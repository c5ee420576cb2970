"""An HTTP client that asks at fixed moments, in a process of its own: `python -m benchmarks.open_loop PORT PER_S SECONDS FILE`.

The loop is open: requests are due at fixed moments, however long answers take, and a request's time begins when it was due. So a
server that falls behind is seen to (no coordinated omission). It waits by `select`, whose timeouts are in us: an event loop's
are in ms, which is as long as what is measured. Only the standard library is imported.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CONNECTIONS = 32
GIVE_UP_S = 3.0
"""So long after the last request was due, what was not answered counts as an error."""
FLOOD_PER_S = 8_000
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection:
    """One connection and the request that it carries; `due` is when that was due."""

    def __init__(self, port: int) -> None:
        self.port, self.due, self.read = port, 0.0, b""
        self.open()

    def open(self) -> None:
        """Connect."""
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """As `select` wants it."""
        return self.socket.fileno()

    def ask(self, request: bytes, due: float) -> None:
        """Send; what is wrong is found when the answer is read."""
        self.due, self.read = due, b""
        try:
            self.socket.sendall(request)
        except OSError:
            pass

    def answered(self) -> bool | None:
        """Read what there is: None while the answer is not whole, then whether it is 200."""
        try:
            data = self.socket.recv(262_144)
        except OSError:
            data = b""
        if not data:
            self.socket.close()
            self.open()
            return False
        self.read += data
        head = self.read.find(b"\r\n\r\n")
        if head < 0:
            return None
        size = _LENGTH.search(self.read, 0, head + 2)
        if size is None:  # nothing here answers in chunks
            return False
        if len(self.read) < head + 4 + int(size[1]):
            return None
        return self.read.split(b" ", 2)[1] == b"200"


def drive(port: int, requests: Sequence[bytes], per_s: float, seconds: float) -> dict[str, Any]:
    """Ask at a fixed rate; times are from when a request was due."""
    idle = [Connection(port) for _ in range(CONNECTIONS)]
    busy: list[Connection] = []
    waiting: deque[tuple[int, float]] = deque()
    took: list[float] = []
    total, asked, errors = int(per_s * seconds), 0, 0
    gc.disable()
    clock = time.perf_counter
    began = clock()
    end = began + seconds + GIVE_UP_S
    while len(took) < total:
        now = clock()
        while asked < total and (due := began + asked / per_s) <= now:
            waiting.append((asked, due))
            asked += 1
        while waiting and idle:
            one, (number, due) = idle.pop(), waiting.popleft()
            one.ask(requests[number % len(requests)], due)
            busy.append(one)
        if now > end:
            break
        next_s = max(0.0, began + asked / per_s - clock()) if asked < total else 0.2
        for one in select.select(busy, (), (), next_s)[0]:
            good = one.answered()
            if good is not None:
                took.append(clock() - one.due)
                errors += not good
                busy.remove(one)
                idle.append(one)
    now = clock()
    left = [*(one.due for one in busy), *(due for _, due in waiting)]
    took += [now - due for due in left]
    return figures(per_s, took, now - began, errors + len(left), len(left))


def figures(per_s: float, took: list[float], spent_s: float, errors: int, left: int) -> dict[str, Any]:
    """Of one run, in ms."""
    took.sort()

    def at(share: float) -> float:
        return round(took[min(int(len(took) * share), len(took) - 1)] * 1000, 2)

    return {
        "per_s": per_s, "answered": len(took) - left, "answered_per_s": round((len(took) - left) / spent_s, 1),
        "p50_ms": at(0.5), "p99_ms": at(0.99),
        "p999_ms": at(0.999), "errors": errors, "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def client(port: int, requests: Sequence[bytes], per_s: float, seconds: float) -> dict[str, Any]:
    """The same in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".requests") as file:
        file.write("\n".join(base64.b64encode(one).decode() for one in requests))
        file.flush()
        line = [sys.executable, "-S", str(Path(__file__)), str(port), str(per_s), str(seconds), file.name]
        found: dict[str, Any] = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout)
    return found


def most(ask: Callable[[float], dict[str, Any]], first: float, bound_ms: float = 10.0) -> dict[str, Any]:
    """The highest rate at which p99 is within the bound and nothing fails, to a tenth, and that run; and a run at far too many.

    A rate that fails is asked twice more: other work on the machine is not the server's. 0 where not even 10 a second pass. What
    is answered of far too many is what the server can do, and its CPU then is what a request costs at the least.
    """
    low, high, rate, best = 0.0, 0.0, first, None
    while rate >= 10 and not (low and high and high <= low * 1.1):
        for _ in range(3):
            found = ask(rate)
            if good := found["p99_ms"] <= bound_ms and not found["errors"]:
                break
        if good:
            low, best = rate, found
        else:
            high = rate
        rate = round(low * 1.5 if not high else high / 2 if not low else (low * high) ** 0.5, 1)
    return {"max_per_s_at_p99_10ms": low, "at_the_most": best, "flooded": ask(FLOOD_PER_S)}


if __name__ == "__main__":
    given = Path(sys.argv[4]).read_text().split("\n")
    said = drive(
        int(sys.argv[1]), [base64.b64decode(one) for one in given], float(sys.argv[2]), float(sys.argv[3])
    )
    print(json.dumps(said))
