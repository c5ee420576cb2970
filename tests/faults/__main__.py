"""`python -m tests.faults`: harm roles and servers, and count what came of it. `--list` names the faults.

With fewer than 20,000 records every worker is killed once a round, not three times. `--short` does a few faults of each kind and
a few planted bugs. The JSON file is written anew after every round, so that whoever stops it loses one; rows of other faults that
it had stay in it, and with `--resume` the rounds of these count, too. Needs Java 17 with Maven (or the jars that it fetched) for
the broker. Exit code 1 if anything was lost, repeated or wrong, or a planted bug was not found.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.every import FAULTS, SHORT, SHORT_BUGS
from tests.faults.planted import Found, planted_rows
from tests.faults.rows import SHORT_RECORDS, Row, run_faults, table
from tests.faults.servers import servers

PLANTED_RECORDS = 2_500


def rows_of(file: Path | None) -> list[dict[str, Any]]:
    """The rows that a file has by now."""
    if file is None or not file.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"]
    return rows


def written(file: Path | None, rows: list[Row], planted: list[Found]) -> None:
    """Keep what was found, beside what the file says of other faults and bugs."""
    if file is None:
        return
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"rows": [], "planted": []}
    for kind, name, new in (
        ("rows", "fault", [row.shown() for row in rows if row.rounds]),
        ("planted", "bug", [one.shown() for one in planted]),
    ):
        names = {one[name] for one in new}
        found[kind] = [*(one for one in found[kind] if one[name] not in names), *new]
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1))
    part.rename(file)


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--records", type=int, default=100_000, help="of each round")
    parser.add_argument("--kills", type=int, help="of each worker in a round (3; with few records 1)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no round that would end later")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="FAULT",
        help="its name, or how it begins; with `--planted only` a bug's name",
    )
    parser.add_argument("--but", action="append", default=[], metavar="FAULT", help="not this one")
    parser.add_argument("--short", action="store_true", help="a few faults and bugs of each kind")
    parser.add_argument("--planted", choices=("yes", "no", "only"), default="yes", help="plant bugs, too")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--resume", action="store_true", help="rounds that the JSON file has count, and are not done again"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        for fault in FAULTS:
            print(f"{fault.name:42} {fault.flow:8} {fault.what}; promised: {fault.promise}")
        return 0
    logging.disable(logging.ERROR)  # a broker that was killed is no news
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started here ends with it
    only = args.only or (SHORT if args.short else [""])
    wanted = [one for one in FAULTS if any(one.name.startswith(name) for name in only)]
    wanted = [one for one in wanted if not any(one.name.startswith(name) for name in args.but)]
    if args.planted != "only" and not wanted:
        parser.error(f"no fault's name begins with {' or '.join(map(repr, only))}: --list names them")
    kills = args.kills or (1 if args.records < SHORT_RECORDS else 3)
    rows: list[Row] = []
    found: list[Found] = []
    ends_s = time.monotonic() + args.minutes * 60
    with servers() as started:
        if args.planted != "only":
            rows = run_faults(
                wanted, started, args.rounds, args.records, kills, args.seed,
                ends_s=ends_s, before=rows_of(args.json) if args.resume else (), told=lambda rows: written(args.json, rows, []),
            )  # fmt: skip
        if args.planted != "no":
            few = min(args.records, PLANTED_RECORDS)
            bugs = SHORT_BUGS if args.short else args.only if args.planted == "only" else ()
            found = planted_rows(started, few, args.seed, bugs)
    print(table(rows, found))
    written(args.json, rows, found)
    return int(any(row.bad for row in rows) or any(not one.caught_by for one in found))


if __name__ == "__main__":
    sys.exit(main())
