"""`python -m tests.soak`: roles run for hours under a steady stream and faults; does anything grow, is anything lost?

Needs Java 17 with Maven (or the jars that it fetched) for the broker. Exit code 1 if something grows beyond its bound, or the
checker finds anything. The samples are written as they come.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from penstock.stream import cli
from tests.faults.counts import Counts
from tests.faults.rows import say
from tests.faults.running import Stuck
from tests.faults.servers import servers, store
from tests.patience import PATIENCE_S
from tests.pressure.pressed import compared
from tests.soak.living import Soak
from tests.soak.slopes import missing, slopes, table

MOST_FAILED = 0.02  # of all answers: servers are away now and then


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=500.0, help="records a second")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two samples")
    parser.add_argument(
        "--fault-every", type=float, default=180.0, help="seconds between two faults; 0: none"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started here ends with it
    folder = Path(tempfile.mkdtemp(prefix="penstock-soak-"))
    counts = Counts()
    with servers() as started, store() as (valkey, url, _):
        soak = Soak(started, valkey, url, "soak", 0, args.seed, folder)
        try:
            lives(soak, args)
            say("over: waiting for the end of the stream, and comparing all of it")
            soak.finish()
            counts = compared(soak)
        except Stuck as error:
            counts.add("stuck", str(error))
        except Exception:
            counts.add("stuck", traceback.format_exc())
        finally:
            soak.over.set()
            for role in soak.beside.roles:
                role.end()
            for process in soak.sending:
                process.kill()
            soak.close()
    shutil.rmtree(folder, ignore_errors=True)
    found = slopes(soak.samples)
    written(args.json, soak, found, counts)
    print(table(found))
    said = counts.bad or "nothing lost, repeated or wrong"
    print(f"{soak.produced:,} records, {soak.injected} faults, {soak.answers_seen} answers; {said}")
    for note in counts.notes[:6]:
        print(f"    {note}")
    for end in soak.ends:
        print(f"ended by itself: {end}")
    unknown, answers = missing(soak.samples, found), soak.answers_seen
    for one in unknown:
        print(f"no slope: {one}")
    mute = answers["failed"] > MOST_FAILED * sum(answers.values())
    flat = all(slope.flat for slope in found)
    return int(bool(counts.bad or soak.ends or unknown) or mute or not flat)


def lives(soak: Soak, args: argparse.Namespace) -> None:
    """From the first record to the last."""
    os.environ["KAFKA_BOOTSTRAP_SERVERS"] = soak.servers.bootstrap
    for place, partitions in ((soak.place, soak.flow.partitions), (soak.beside, 2)):
        with redirect_stdout(StringIO()):
            if (
                cli.main(["topics", str(place.file), "--create-sources", "--partitions", str(partitions)])
                != 0
            ):
                raise Stuck("the topics could not be created")
    soak.start_all()
    producing = threading.Thread(target=soak.produce, args=(args.rate,), daemon=True)
    for thread in (producing, threading.Thread(target=soak.ask_pages, daemon=True)):
        thread.start()
    until = soak.began + args.hours * 3_600
    sample_at, fault_at = time.monotonic(), time.monotonic() + args.fault_every
    faults = soak.in_turn()
    while (now := time.monotonic()) < until:
        soak.tend()
        soak.tend_beside()
        if now >= sample_at:
            sample_at += args.every
            soak.sample()
            written(args.json, soak, slopes(soak.samples), Counts())
        if args.fault_every and now >= fault_at:
            fault_at = now + args.fault_every
            soak.fault(*next(faults))
        time.sleep(0.2)
    soak.quiet()
    producing.join(PATIENCE_S)
    for process in soak.sending:
        process.wait(PATIENCE_S)


def written(file: Path | None, soak: Soak, found: Any, counts: Counts) -> None:
    """Write what is known by now."""
    if file is None:
        return
    said = {
        "lasted_s": round(time.monotonic() - soak.began),
        "produced": soak.produced,
        "answers": soak.answers_seen,
        "faults": soak.faults,
        "ended_by_themselves": [list(one) for one in soak.ends],
        "found": counts.bad,
        "known_repeats": counts.known_repeats,
        "notes": counts.notes[:6],
        "slopes": [{**one._asdict(), "flat": one.flat} for one in found],
        "samples": soak.samples,
    }
    part = file.with_suffix(".part")
    part.write_text(json.dumps(said, indent=1) + "\n")
    part.replace(file)


if __name__ == "__main__":
    sys.exit(main())
