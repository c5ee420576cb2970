"""What a role computes, and how much memory it takes, before it asks for its servers: with scipy put off, and at once.

    penstock bench start [--rounds N] [--json FILE]

`penstock run examples/cards.py --role R`, with addresses at which nobody listens: it imports what it needs, loads the definition,
asks Redis, and ends with exit code 2. In turns with the same command whose `put_off` does nothing (see
`stream/process/lazy_imports.py`); the kernel's account of user and system time. Half a minute.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import penstock.examples
from benchmarks.written import write

CARDS = Path(penstock.examples.__file__).parent / "cards.py"
ROLES = ("featurize", "learn", "control", "serve")
NOBODY = "127.0.0.1:9"
RUN = "import sys\nfrom penstock.stream import cli\n{first}\nsys.argv = ['penstock', *sys.argv[1:]]\nsys.exit(cli.main())"
WAYS = {"put off": "pass", "at once": "cli.put_off = lambda: None"}


def begun(role: str, first: str) -> tuple[float, float]:
    """CPU seconds, and the most resident memory in MB, of one start."""
    with tempfile.TemporaryDirectory(prefix="penstock-start-") as models:
        # As `main` would begin itself anew, so that it does not.
        environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PENSTOCK_", "PYTHONDONT"))
            },
            "PYTHONHASHSEED": "0",
            "KAFKA_BOOTSTRAP_SERVERS": NOBODY,
            "REDIS_URL": f"redis://{NOBODY}/0",
            "PENSTOCK_SECRET": "only here, and for nobody else",
            "PENSTOCK_MODELS": models,
        }
        line = [sys.executable, "-P", "-c", RUN.format(first=first), "run", str(CARDS), "--role", role]
        process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 2 or "check that Redis runs there" not in said:
        raise SystemExit(f"{role} did not end where Redis is asked: {said}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> int:
    """Measure and tell; the exit code."""
    parser = argparse.ArgumentParser(prog="penstock bench start", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="write the figures; - is standard output")
    args = parser.parse_args()
    for role in ROLES:  # so that every file is compiled
        begun(role, "pass")
    figures: dict[str, Any] = {}
    for role in ROLES:
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            for way, first in WAYS.items():
                found[way].append(begun(role, first))
        cpu = {way: round(statistics.median(one[0] for one in rows), 2) for way, rows in found.items()}
        mb = {way: round(statistics.median(one[1] for one in rows)) for way, rows in found.items()}
        ratios = [a[0] / b[0] for a, b in zip(found["put off"], found["at once"], strict=True)]
        figures[role] = {"cpu_s": cpu, "mb": mb, "ratio": round(statistics.median(ratios), 2)}
        told = (f"{way}: {cpu[way]:.2f} s of CPU, {mb[way]} MB" for way in WAYS)
        print(f"{role:10} {'; '.join(told)}")
    write(figures, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
