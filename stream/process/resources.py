"""What this process takes of the machine, as its kernel counts it."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path


def resident_bytes() -> int:
    """The resident memory; where the kernel does not say what is resident now, the most that ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def age_s() -> float:
    """Seconds since the process began, Python's own start among them; of what Python has run where the kernel does not say."""
    try:
        # the command's name stands in parentheses and may hold spaces
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return time.process_time()
    return uptime_s - ticks / os.sysconf("SC_CLK_TCK")
