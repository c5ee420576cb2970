"""What quiet pipelines cost that share one process: time and CPU of a start, memory, and CPU while nothing comes.

`penstock run FILE… --role all` over copies of `examples/cards.py` on a broker and a Valkey of its own, beside the same roles of
one pipeline in processes of their own. A start is from the process's begin until every role is ready, with topics, groups and
state already there; the CPU of what it started (none here) is counted too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient

from benchmarks.written import write
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.demo.processes import Role
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.process.settings import Settings, child_environment
from penstock.stream.stack import local_stack

PIPELINES = (1, 2, 4, 8)
PATIENCE_S = 300.0
ROLES = ("featurize", "learn", "control")
CARDS = Path(__file__).parent.parent / "examples" / "cards.py"


def resident_mb(pid: int) -> float:
    """The resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def copies(folder: Path, number: int) -> list[str]:
    """Definition files that differ in the names of pipelines and topics."""
    text, found = CARDS.read_text(), []
    for one in range(number):
        file = folder / f"cards{one}.py"
        file.write_text(text.replace('"cards', f'"cards{one}'))
        found.append(str(file))
    return found


def measured(roles: list[Role], began: float, idle_s: float) -> dict[str, float]:
    """What processes that have just been started cost until all are ready, and then in so long without a record."""
    for role in roles:
        role.wait_ready(PATIENCE_S)
    ready_s, ready_cpu_s = time.monotonic() - began, sum(role.cpu_s() for role in roles)
    time.sleep(3.0)
    before = sum(role.cpu_s() for role in roles)
    time.sleep(idle_s)
    return {
        "start_s": round(ready_s, 2),
        "start_cpu_s": round(ready_cpu_s, 2),
        "resident_mb": round(sum(resident_mb(role.child.pid) for role in roles)),
        "idle_cpu_ms_per_minute": round((sum(role.cpu_s() for role in roles) - before) / idle_s * 60_000),
    }


def run(
    files: list[str], names: tuple[str, ...], settings: Settings, folder: Path, idle_s: float
) -> dict[str, float]:
    """Start roles of these files and stop them again: once to have all there, and once to be measured."""
    found: dict[str, float] = {}
    for seconds in (0.0, idle_s):
        began = time.monotonic()
        environment = child_environment(settings)
        roles = [Role(name, files, environment, folder) for name in names]
        try:
            found = measured(roles, began, seconds) if seconds else {}
            for role in roles:
                role.wait_ready(PATIENCE_S)
        finally:
            for role in roles:
                role.stop()
    return found


def measure(numbers: list[int], idle_s: float) -> dict[str, Any]:
    """Give the figures by number of pipelines, and of processes of their own for one."""
    figures: dict[str, Any] = {}
    with local_stack(env={}, progress=say) as stack, tempfile.TemporaryDirectory() as place:
        if stack.kafka is None:
            sys.exit("no Kafka, and this needs one: " + "; ".join(stack.description))
        folder = Path(place)
        settings = Settings(bootstrap=stack.kafka, redis_url=stack.redis_url, secret="bench")
        files = copies(folder, max(numbers))
        with kafka_python.client(KafkaAdminClient, settings) as admin:
            for file in files:
                made = load(file)
                sources = [topology.Topic(one.name, 2, {}, "events") for one in made.sources]
                ensure(admin, [*sources, *topology.owned(made.name)])
        for number in numbers:
            figures[f"all, {number}"] = run(files[:number], ("all",), settings, folder, idle_s)
            say(f"all, {number}: {figures[f'all, {number}']}")
        figures["roles of their own, 1"] = run(files[:1], ROLES, settings, folder, idle_s)
        say(f"roles of their own, 1: {figures['roles of their own, 1']}")
    return figures


def say(line: str) -> None:
    """Tell progress, at once."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--pipelines", type=int, nargs="+", default=list(PIPELINES), metavar="N")
    parser.add_argument("--idle-seconds", type=float, default=20.0, metavar="S")
    asked = parser.parse_args(arguments)
    write(measure(asked.pipelines, asked.idle_seconds), asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
