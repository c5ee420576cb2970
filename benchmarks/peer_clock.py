"""What every contender measures of itself, in its own process: from its first record to its last write.

Only the standard library is imported: every engine's own environment can load it.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path


class Clock:
    """Wall and CPU time since the first record. CPU is of the whole process: clients' and engines' own threads count."""

    def __init__(self) -> None:
        self.began: tuple[float, float] | None = None

    def first(self) -> None:
        """Begin, unless that was done."""
        if self.began is None:
            self.restart()

    def restart(self) -> None:
        """Begin, again if that was done."""
        self.began = time.perf_counter(), time.process_time()

    def figures(self) -> dict[str, float]:
        """Give `wall_s` and `cpu_s` until now, and the most memory that the process had."""
        if self.began is None:
            raise RuntimeError("no record was read")
        wall_s, cpu_s = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        return {"wall_s": wall_s, "cpu_s": cpu_s, "memory_mb": most_memory_mb()}


def most_memory_mb() -> float:
    """Give the most resident memory that this process had (Linux), in MB.

    Not `getrusage`: what it gives begins with the memory of the process that started this one.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return round(int(status["VmHWM"].split()[0]) / 1024)


def contend(run: Callable[[argparse.Namespace, Clock], dict[str, float]], *packages: str) -> None:
    """Read the command line that `peers.py` wrote, run, and write the figures where it says."""
    parser = argparse.ArgumentParser()
    for name in ("--bootstrap", "--topic", "--redis", "--scratch", "--out", "--prefix"):
        parser.add_argument(name, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--entities", type=int, default=0)
    # the topic of the whole job's predictions; none: features alone
    parser.add_argument("--predictions", default="")
    asked = parser.parse_args()
    # As Penstock's roles do, for all: the cycle collector would walk every state again and again, and finds nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    figures = run(asked, Clock())
    versions = {package: version(package) for package in packages}
    Path(asked.out).write_text(json.dumps({**figures, "versions": versions}))
