"""`python -m tests.pressure`: something is slow or away while roles work a backlog off; what they hold, say and lose.

Needs Java 17 with Maven (or the jars that it fetched) for the broker. Exit code 1 if something is not as promised.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from tests.faults.servers import servers
from tests.pressure.rows import run, table
from tests.pressure.ways import WAYS


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pressure", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--records", type=int, default=200_000, help="of the backlog")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="how its name begins")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started here ends with it
    rows: list[dict[str, Any]] = []
    with servers() as started:
        for pressure in WAYS:
            if not args.only or any(pressure.name.startswith(name) for name in args.only):
                rows.append(run(pressure, started, args.records, args.seed))
                if args.json:
                    args.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(table(rows))
    return 1 if any(row["bad"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
