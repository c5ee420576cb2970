"""Stands between this process and a server it starts, so that the server never outlives it.

Run as a program (`python -I -S watchdog.py '{"command": [...], ...}'`), by `server.Server` only. Laws that hold here:

- The parent holds the other end of stdin. When it closes, by `close()` or because the kernel reaped a killed parent, the
  server gets SIGTERM, after `grace_s` SIGKILL; then `after` runs and the folder `remove` goes.
- If the watchdog itself is killed, Linux kills the server (PR_SET_PDEATHSIG; on other systems that one case leaks).
- If the server ends by itself, the watchdog ends with it and leaves everything in place.
- The first line on stdout is the server's pid.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1


def main(text: str) -> int:
    """Start `command` with its output appended to `log`, and wait; the exit code is the server's."""
    options: dict[str, Any] = json.loads(text)
    with open(options["log"], "ab") as log:
        server = subprocess.Popen(
            options["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Safe here: this process has no other thread yet.
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
    print(server.pid, flush=True)
    closing = threading.Event()
    watch = threading.Thread(target=_watch_parent, args=(server, options, closing), daemon=True)
    watch.start()
    code = server.wait()
    if closing.is_set():  # the watch still has to clean up, and ends this process
        watch.join()
    return code


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch_parent(server: subprocess.Popen[bytes], options: dict[str, Any], closing: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    closing.set()
    server.terminate()
    try:
        server.wait(options["grace_s"])
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if options["after"]:
        subprocess.run(
            options["after"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
        )
    if options["remove"]:
        shutil.rmtree(options["remove"], ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main(sys.argv[1]))
