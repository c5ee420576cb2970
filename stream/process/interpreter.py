"""How Python itself is set for a process that runs long: its collector, and its threads' turns."""

from __future__ import annotations

import gc
import sys


def settle_memory() -> None:
    """Keep the collector from walking what lives as long as the process: states and models are many objects, and no garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def share_interpreter() -> None:
    """Let a thread that has an answer go on within a millisecond (Python: 5): what is written waits for many, beside the loop."""
    sys.setswitchinterval(0.001)
