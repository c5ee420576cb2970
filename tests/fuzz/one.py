"""One target, fuzzed until the time is over: `python -m tests.fuzz.one NUMBER SECONDS CORPUS`.

With atheris its inputs are guided by what of Penstock's Python they reach (C is reached, but does not guide). Whatever a target
raises is written to CORPUS beside the name of the target, and ends the process with an error.
"""

from __future__ import annotations

import itertools
import sys
import time
import traceback
from pathlib import Path
from typing import Any

MOST_BYTES = 4_096
TURN = 200


def main(number: int, seconds: float, corpus: Path) -> int:
    """Fuzz; the exit code."""
    try:
        import atheris
    except ImportError:
        return blindly(number, seconds, corpus)
    with atheris.instrument_imports(include=["penstock"]):
        from tests.fuzz.every import TARGETS

        one = TARGETS[number].make()
    begun(number, corpus, TARGETS[number].seeds())
    given = [
        sys.argv[0], str(corpus / "seeds"), f"-max_total_time={max(int(seconds), 1)}", f"-max_len={MOST_BYTES}", "-timeout=60",
        "-rss_limit_mb=4096", "-print_final_stats=1", f"-artifact_prefix={corpus}/found-",
    ]  # fmt: skip
    atheris.Setup(given, one)
    atheris.Fuzz()  # does not return
    return 0


def begun(number: int, corpus: Path, seeds: list[bytes]) -> None:
    """Lay the seeds down."""
    folder = corpus / "seeds"
    folder.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate(seeds):
        (folder / f"seed-{place}").write_bytes(seed)


def blindly(number: int, seconds: float, corpus: Path) -> int:
    """The same without being guided."""
    from tests.fuzz.every import TARGETS
    from tests.fuzz.mutate import mutations

    target: Any = TARGETS[number]
    one, seeds, runs, ends = target.make(), target.seeds(), 0, time.monotonic() + seconds
    begun(number, corpus, seeds)
    for turn in itertools.count():
        for data in mutations(seeds, len(seeds) + TURN, turn):
            try:
                one(data)
            except Exception:
                traceback.print_exc()
                (corpus / f"found-{turn}").write_bytes(data)
                return 1
            runs += 1
            if time.monotonic() > ends:
                print(f"Done {runs} runs, not guided: atheris is not installed")
                return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
