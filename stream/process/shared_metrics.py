"""Metrics of several processes on one page: counters and histograms are summed, of gauges the least is told.

Laws of this file:
- A process is known by its number, not its pid: one that is started again counts on where the one before it ended. So no sum
  falls when a process dies, and there are as many files as numbers.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from prometheus_client import generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

GAUGES: Final = "livemin"
"""Of several processes' gauges: a condition holds where it holds in all, a position is the one that all have reached."""


def share(folder: str, number: int) -> None:
    """From here on metrics of this process are kept in the folder, as those of the process of this number."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


class _Named(MultiProcessCollector):
    """Those of these names alone."""

    def __init__(self, folder: str, names: Collection[str]) -> None:
        super().__init__(None, folder)  # type: ignore[no-untyped-call]
        self.folder, self.names = Path(folder), names

    def collect(self) -> list[Any]:
        # A process that has just begun has made a file and not yet written to it.
        files = [str(file) for file in self.folder.glob("*.db") if file.stat().st_size]
        return [one for one in self.merge(files) if one.name in self.names]  # type: ignore[no-untyped-call]


def page(folder: str, names: Collection[str]) -> bytes:
    """What all processes that share the folder have counted under these names, as `/metrics` shows it."""
    return generate_latest(_Named(folder, names))
