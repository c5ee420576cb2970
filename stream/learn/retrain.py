"""The retrain job: folds a stretch of the samples log into a fresh model, stores it and asks the fold to adopt it.

Laws of this file:
- A job is a function of its command: run twice it stores the same version and appends the same command, which is read once.
- It never touches the live model: its product enters through an `adopt` in the samples log.
- A process that was started is ended for certain, with every process it started: it leads a group of its own.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replay import retrained, retrained_version
from penstock.stream.log.protocol import Log, Out
from penstock.stream.messages import Command, encode_entry
from penstock.stream.models.digest import digest
from penstock.stream.models.store import ModelStore
from penstock.stream.models.version import Version, dump

logger = logging.getLogger("penstock.retrain")

TERMINATE_S = 5.0  # from being asked to end to being killed


def run_job(
    pipeline: Pipeline,
    log: Log,
    models: ModelStore,
    command_id: str,
    from_position: int,
    quarantined: list[tuple[int, int]],
    prefix: str = "",
) -> Version:
    """Train on [from_position, the log's end now), store the version and append its `adopt`."""
    topic = topology.samples(pipeline.name, prefix)
    low, stop = log.bounds([(topic, 0)])[(topic, 0)]
    start = max(low, from_position)
    product = retrained(Fold(pipeline, actions=False), log, topic, start, stop, quarantined)
    made = digest(product.model)
    version = retrained_version(pipeline, f"retrain-{command_id}", start, stop, product, made)
    models.put(version, dump(product.model))
    adopt = Command(
        id=f"adopt-{command_id}",
        verb="adopt",
        reason=version.why,
        by="retrain job",
        version=version.id,
        from_position=start,
        trained_to=stop,
        digest=made,
    )
    log.append([Out(topic, pipeline.name.encode(), encode_entry(adopt), (), 0)])
    return version


class InlineRetrainer:
    """Runs a job at once, in this process: for the in-memory log, where there is no other process to run it."""

    def __init__(self, pipeline: Pipeline, log: Log, models: ModelStore, prefix: str = "") -> None:
        self.pipeline, self.log, self.models, self.prefix = pipeline, log, models, prefix

    def start(self, command_id: str, from_position: int, quarantined: list[tuple[int, int]]) -> None:
        """Run the job to its end."""
        run_job(self.pipeline, self.log, self.models, command_id, from_position, quarantined, self.prefix)

    def failed(self) -> list[str]:
        """None: a job that fails here raises where it is started."""
        return []


class ProcessRetrainer:
    """Runs each job in a process of its own, which inherits this one's environment (addresses, secret)."""

    def __init__(self, definition: Path) -> None:
        self.definition = definition
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, command_id: str, from_position: int, quarantined: list[tuple[int, int]]) -> None:
        """Start the job unless it runs."""
        running = self.processes.get(command_id)
        if running is not None and running.poll() is None:
            return
        job = msgspec.json.encode(
            {"id": command_id, "from": from_position, "quarantined": quarantined}
        ).decode()
        line = [
            sys.executable,
            "-m",
            "penstock.stream.cli",
            "retrain-job",
            str(self.definition),
            "--job",
            job,
        ]
        self.spawn(command_id, line)

    def spawn(self, command_id: str, line: Sequence[str]) -> None:
        """Run a command line as the job of this command, in a process group of its own."""
        self.processes[command_id] = subprocess.Popen(line, start_new_session=True)

    def failed(self) -> list[str]:
        """Jobs that ended with an error since the last call: they should be started again."""
        ended = {key: process for key, process in self.processes.items() if process.poll() is not None}
        for key in ended:
            del self.processes[key]
        return [key for key, process in ended.items() if process.returncode != 0]

    def stop(self) -> None:
        """End the jobs under way and all they started; their commands stay open, so the next worker starts them again."""
        running = [process for process in self.processes.values() if process.returncode is None]
        for process in running:
            _signal_group(process, signal.SIGTERM)
        deadline_s = time.monotonic() + TERMINATE_S
        while time.monotonic() < deadline_s and not all(_ended(process) for process in running):
            time.sleep(0.02)
        for process in running:
            if not _ended(process):
                logger.warning(
                    "retrain job %d did not end within %g s: it is killed", process.pid, TERMINATE_S
                )
            _signal_group(process, signal.SIGKILL)  # whoever of the group is left
            process.wait()
        self.processes.clear()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process that was not waited for yet, and to all it started: the group's id is still its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended, without collecting it: until then nobody else gets its id, nor its group's."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
