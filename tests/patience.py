"""How long a test waits for what another process or thread does.

Law of the tests: no test asserts how long anything took. What is waited for is polled, and the bound is one that only a hang
reaches, so that a busy machine makes the tests slow and never red. Short bounds are for what must not come, such as the answer
of a server that is down.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 300.0


def eventually(holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Whether `holds` becomes true before only a hang can be the reason."""
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
