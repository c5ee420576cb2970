"""The retrain job: folds a stretch of the samples log into a fresh model, stores it and asks the fold to adopt it.

Laws of this file:
- A job is a function of its command, which also says where it ends: run twice it stores the same version and appends the same
  command, which is read once.
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
from typing import Protocol

import msgspec

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.learner import at_once
from penstock.stream.learn.records import Job
from penstock.stream.learn.replay import retrained_version, retraining
from penstock.stream.log.protocol import Log, Out
from penstock.stream.messages import Command, encode_entry
from penstock.stream.models.digest import digest
from penstock.stream.models.store import ModelStore
from penstock.stream.models.version import Version, dump

logger = logging.getLogger("penstock.retrain")

TERMINATE_S = 5.0  # from being asked to end to being killed


def run_job(
    pipeline: Pipeline, log: Log, models: ModelStore, command_id: str, job: Job, prefix: str = ""
) -> Version:
    """Train on [job.start, job.stop), store the version and append its `adopt`.

    What came since `job.stop`, where the command stands, the fold catches up with when it adopts the model, from the record that
    the oldest label still to come belongs to. The version's id ends in its digest: another product is another version.
    """
    topic = topology.samples(pipeline.name, prefix)
    start = max(log.bounds([(topic, 0)])[(topic, 0)][0], job.start)
    trained = at_once(retraining(pipeline, log, topic, start, job.stop, job.skip, job.since_at))
    made = digest(trained.model)
    name = f"retrain-{command_id}.{made[:6]}"
    version = retrained_version(pipeline, name, start, job.stop, trained, made, job.by, job.since_at)
    models.put(version, dump(trained.model))
    adopt = Command(
        id=f"adopt-{command_id}",
        verb="adopt",
        reason=version.why,
        by="retrain job",
        version=version.id,
        from_position=start,
        trained_to=job.stop,
        digest=made,
        join_from=version.join_from,
    )
    log.append([Out(topic, pipeline.name.encode(), encode_entry(adopt), (), 0)])
    return version


class Retrainer(Protocol):
    """Runs retrain jobs beside the fold. `start` returns at once; the job appends its own `adopt` command."""

    def start(self, command_id: str, job: Job) -> None:
        """Begin the job of one retrain command; harmless when it runs already."""

    def failed(self) -> list[str]:
        """Command ids of jobs that ended with an error since the last call: they are started again."""


class InlineRetrainer:
    """Runs a job at once, in this process: for the in-memory log, where there is no other process to run it."""

    def __init__(self, pipeline: Pipeline, log: Log, models: ModelStore, prefix: str = "") -> None:
        self.pipeline, self.log, self.models, self.prefix = pipeline, log, models, prefix

    def start(self, command_id: str, job: Job) -> None:
        """Run the job to its end."""
        run_job(self.pipeline, self.log, self.models, command_id, job, self.prefix)

    def failed(self) -> list[str]:
        """None: a job that fails here raises where it is started."""
        return []


class ProcessRetrainer:
    """Runs each job of a shard in a process of its own, which inherits this one's environment (addresses, secret)."""

    def __init__(self, definition: Path, shard: int = 0) -> None:
        self.definition, self.shard = definition, shard
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, command_id: str, job: Job) -> None:
        """Start the job unless it runs."""
        running = self.processes.get(command_id)
        if running is not None and running.poll() is None:
            return
        order = {
            "id": command_id,
            "from": job.start,
            "to": job.stop,
            "quarantined": job.skip,
            "by": job.by,
            "since_at": job.since_at,
            **({"shard": self.shard} if self.shard else {}),
        }
        line = [
            sys.executable,
            "-m",
            "penstock.stream.cli",
            "retrain-job",
            str(self.definition),
            "--job",
            msgspec.json.encode(order).decode(),
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
