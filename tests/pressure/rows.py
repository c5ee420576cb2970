"""Rows of pressure: run, judged, and as a table."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.faults.counts import Counts
from tests.faults.rows import say
from tests.faults.running import Stuck
from tests.faults.servers import Servers, store
from tests.pressure.pressed import Pressed, Pressure, bad, row_of

MOST_MB = 500.0
"""What a role may hold, whatever is slow and however much is left to do. The chart asks for 512 MiB and limits to 2 GiB."""


def run(pressure: Pressure, servers: Servers, records: int, seed: int) -> dict[str, Any]:
    """One row, with what of it is not as it is promised."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="penstock-pressure-"))
    with store() if pressure.own is None else pressure.own() as (valkey, url, _):
        round = Pressed(servers, valkey, url, pressure.flow, records, seed, folder)
        counts = Counts()
        try:
            if pressure.prepare is not None:
                pressure.prepare(round)
            counts = round.under(pressure)
        except Stuck as error:
            counts.add("stuck", str(error))
        except Exception:
            counts.add("stuck", traceback.format_exc())
        finally:
            round.close()
    row = row_of(pressure, round, counts, time.monotonic() - began)
    row["bad"] = bad(row, pressure, MOST_MB)
    shutil.rmtree(folder, ignore_errors=True)
    say(f"{pressure.name}: {row['took_s']:.0f} s; {row['bad'] or 'as promised'}")
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    lines = [
        f"{'pressure':18} {'role':10} records   most MB  ready though stuck s  end s  exit  goes on s  lost repeated wrong"
    ]
    for row in rows:
        for role, one in row["roles"].items():
            drain = "    -" if one["drain_s"] is None else f"{one['drain_s']:5.1f}"
            lines.append(
                f"{row['pressure']:18} {role:10} {row['records']:7} {one['rss_mb']:9.0f} {one['false_s']:21.1f} {drain:>6} "
                f"{one['exit'] if one['exit'] is not None else '-':>5} {row['recovered_s']:10.1f} {row['lost']:5} "
                f"{row['repeated']:8} {row['wrong']:5}"
            )
    return "\n".join([*lines, *(f"{row['pressure']}: {one}" for row in rows for one in row["bad"])])
