"""`python -m tests.faults`: harm roles and servers, and count what came of it. `--list` names the faults.

With fewer than 20,000 records it is a short run: `kill -9` of every role, once a worker, unless `--only` names something else.
Needs Java 17 with Maven (or the jars that it fetched) for the broker. Exit code 1 if anything was lost, repeated or wrong, or a
planted bug was not found.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from pathlib import Path

from tests.faults import kills
from tests.faults.every import FAULTS
from tests.faults.planted import planted_rows
from tests.faults.rows import Row, run_fault, table
from tests.faults.servers import servers

SHORT_RECORDS, PLANTED_RECORDS = 20_000, 2_500


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--records", type=int, default=100_000, help="of each round")
    parser.add_argument("--kills", type=int, help="of each worker in a round (3; in a short run 1)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="FAULT", help="its name, or how it begins"
    )
    parser.add_argument("--planted", choices=("yes", "no", "only"), default="yes", help="plant bugs, too")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        for fault in FAULTS:
            print(f"{fault.name:42} {fault.flow:8} {fault.what}; promised: {fault.promise}")
        return 0
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started here ends with it
    short = args.records < SHORT_RECORDS
    wanted = [one for one in FAULTS if any(one.name.startswith(name) for name in args.only)]
    if not args.only:
        wanted = kills.FAULTS if short else FAULTS
    count = args.kills or (1 if short else 3)
    rows: list[Row] = []
    with servers() as started:
        if args.planted != "only":
            for fault in wanted:
                rows.append(run_fault(fault, started, args.rounds, args.records, count, args.seed))
        found = (
            []
            if args.planted == "no"
            else planted_rows(started, min(args.records, PLANTED_RECORDS), args.seed)
        )
    print(table(rows, found))
    if args.json is not None:
        args.json.write_text(
            json.dumps(
                {"rows": [row.shown() for row in rows], "planted": [one.shown() for one in found]}, indent=1
            )
        )
    return int(any(row.bad for row in rows) or any(not one.caught_by for one in found))


if __name__ == "__main__":
    sys.exit(main())
