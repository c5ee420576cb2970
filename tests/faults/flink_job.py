"""`kill -9` of featurize as a Flink job, Java and Python and all, where Flink's environment was built (`make flink`).

Laws of this file:
- What the job appends is readable with its checkpoint: progress, and recovery, are those of the records that may be read.
- The job commits no offsets, so it is at its end when as many records may be read as the naive flow gives. Behind the last of
  them stands what a transaction ends with: nobody comes to the end of that log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.faults.checker import entry
from tests.faults.counts import Counts
from tests.faults.fault import Fault
from tests.faults.raw import RawTopics
from tests.faults.reference import OrderedFlow
from tests.faults.round import Round, judged
from tests.patience import PATIENCE_S
from tests.places import ROOT, Role

PYTHON = os.environ.get("PENSTOCK_TEST_FLINK") or str(ROOT / "build" / "flink" / "bin" / "python")
PARALLELISM, SHARDS, CHECKPOINT_EVERY = "2", "4", "300ms"


class FlinkJob(Role):
    """`penstock flink`, in a session of its own, so that nothing of it outlives `kill`."""

    def start(self) -> Role:
        given = ["--parallelism", PARALLELISM, "--shards", SHARDS, "--checkpoint-every", CHECKPOINT_EVERY]
        kept = str(self.place.folder / "checkpoints")
        line = [
            PYTHON,
            "-m",
            "penstock.stream.cli",
            "flink",
            str(self.place.file),
            *given,
            "--checkpoints",
            kept,
        ]
        more = {"JVM_ARGS": "-Xmx768m", "FLINK_LOG_DIR": str(self.place.folder)}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                line, env=self.place.env | more, stdout=output, stderr=output, start_new_session=True, cwd=self.place.folder
            )  # fmt: skip
        return self

    def kill(self) -> None:
        assert self.process is not None and self.process.poll() is None, self.said()
        self.end()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE_S)


def readable(round: Round) -> int:
    """Up to where the samples log may be read now."""
    topics = RawTopics(round.servers.bootstrap)
    [(_, end)] = topics.bounds([(round.place.samples, 0)]).values()
    return end


def inject(round: Round) -> None:
    """Kill the job at seeded points of progress, and begin it again at once."""
    job = FlinkJob(round.place, "flink")
    round.place.roles.append(job.start())
    for at in round.points(round.kills):
        round.wait(lambda at=at: readable(round) >= at * round.total, "the job did not go on")  # type: ignore[misc]
        job.kill()
        before, began = readable(round), time.monotonic()
        round.injected += 1
        job.start()
        round.wait(lambda before=before: readable(round) > before, "the job did not go on")  # type: ignore[misc]
        round.recoveries.append(time.monotonic() - began)


def judge(round: Round) -> Counts:
    """Wait until all may be read and is learned, end everything, and compare."""
    flow = OrderedFlow(round.place.pipeline, RawTopics(round.servers.bootstrap))
    expected = len(flow.samples) + len(flow.labels)

    def all_there() -> bool:
        if readable(round) < expected:
            return False
        records = RawTopics(round.servers.bootstrap).whole(round.place.samples)[0]
        return sum(entry(record)["tag"] in ("sample", "label") for record in records) >= expected

    round.wait(all_there, "the job did not come to the end")
    round.stop("flink")
    last = RawTopics(round.servers.bootstrap).whole(round.place.samples)[0][-1].offset
    round.wait(lambda: round.place.live().get("position", 0) > last, "learn did not come to the end")
    round.stop("learn")
    return judged(round.left())


def not_built() -> str:
    """Why there is no Flink here."""
    return "" if Path(PYTHON).exists() else "Flink's environment is not built (`make flink`)"


FAULTS = [
    Fault("kill flink", "parcels", "kill -9 of featurize as a Flink job, Java and Python and all", inject, judge=judge,
          needs=not_built, workers={"featurize": 0}),
]  # fmt: skip
