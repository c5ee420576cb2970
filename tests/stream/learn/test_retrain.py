"""Retrain jobs in processes of their own: ended for certain, with all they started."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from penstock.stream.learn.retrain import ProcessRetrainer

STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = os.fork()
with open(f"{sys.argv[1]}/{'leader' if child else 'child'}", "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""
LEAVES_A_CHILD = STUBBORN.replace("time.sleep(600)", "time.sleep(0.0 if child else 600)")
WAIT_S = 60.0


def alive(pid: int) -> bool:
    """Whether a process still runs; one that ended and was not collected by its new parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def started(folder: Path, name: str) -> int:
    deadline_s = time.monotonic() + WAIT_S
    while True:
        path = folder / name
        if path.exists() and path.read_text():
            return int(path.read_text())
        assert time.monotonic() < deadline_s, f"{name} did not start"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("script", [STUBBORN, LEAVES_A_CHILD])
def test_a_job_that_ignores_sigterm_is_ended_with_its_children(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.learn.retrain.TERMINATE_S", 0.3)
    retrainer = ProcessRetrainer(tmp_path / "definition.py")
    retrainer.spawn("c1", [sys.executable, "-c", script, str(tmp_path)])
    pids = [started(tmp_path, name) for name in ("leader", "child")]
    try:
        retrainer.stop()
        deadline_s = time.monotonic() + WAIT_S
        while any(alive(pid) for pid in pids) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert [alive(pid) for pid in pids] == [False, False]
    finally:
        for pid in pids:
            if alive(pid):
                os.kill(pid, 9)


def test_stopping_nothing_or_twice_is_harmless(tmp_path: Path) -> None:
    retrainer = ProcessRetrainer(tmp_path / "definition.py")
    retrainer.stop()
    retrainer.spawn("c1", [sys.executable, "-c", "pass"])
    retrainer.stop()
    retrainer.stop()
    assert retrainer.failed() == []


def test_a_job_that_ended_with_an_error_is_told_once(tmp_path: Path) -> None:
    retrainer = ProcessRetrainer(tmp_path / "definition.py")
    retrainer.spawn("c1", [sys.executable, "-c", "raise SystemExit(3)"])
    retrainer.processes["c1"].wait(WAIT_S)
    assert retrainer.failed() == ["c1"]
    assert retrainer.failed() == []
