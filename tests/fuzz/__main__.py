"""`python -m tests.fuzz`: every decoder, fed with bytes that reach ever more of it. Exit code 1 if any law was broken.

Each target runs in a process of its own. What broke a law stays in the folder that is named, and becomes a line of
`tests/fuzz/test_targets.py` when it is mended.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.every import TARGETS
from tests.places import ROOT

BEYOND_S = 120.0


def main() -> int:
    """Fuzz what was asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--only", default="", metavar="TARGET", help="its name, or a part of it")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps inputs from one run to the next")
    args = parser.parse_args()
    corpus = args.corpus or Path(tempfile.mkdtemp(prefix="penstock-fuzz-"))
    broken = 0
    for number, target in enumerate(TARGETS):
        if args.only in target.name:
            broken += fuzz(number, args.seconds, corpus / re.sub(r"\W+", "-", target.name))
    if broken:
        print(f"{broken} laws were broken; the bytes are in {corpus}")
    return int(bool(broken))


def fuzz(number: int, seconds: float, corpus: Path) -> bool:
    """Fuzz one target; whether its law was broken."""
    target = TARGETS[number]
    corpus.mkdir(parents=True, exist_ok=True)
    line = [sys.executable, "-m", "tests.fuzz.one", str(number), str(seconds), str(corpus)]
    try:
        done = subprocess.run(line, cwd=ROOT, capture_output=True, timeout=seconds + BEYOND_S, check=False)
    except subprocess.TimeoutExpired:
        print(f"{target.name:30} did not end")
        return True
    said = (done.stdout + done.stderr).decode(errors="replace")
    runs = re.search(r"Done (\d+) (?:runs|in)|number_of_executed_units:\s*(\d+)", said)
    reached = re.findall(r"cov: (\d+)", said)
    count = int(runs[1] or runs[2]) if runs else 0
    verdict = "held" if done.returncode == 0 else "BROKEN"
    print(
        f"{target.name:30} {count:10,} inputs, {reached[-1] if reached else '-':>6} edges reached; {verdict}: {target.law}",
        flush=True,
    )
    if done.returncode != 0:
        print("\n".join([line for line in said.splitlines() if not line.startswith("#")][-60:]))
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
