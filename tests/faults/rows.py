"""Rounds of a fault become a row, and rows a table."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.counts import Counts
from tests.faults.fault import Fault
from tests.faults.round import Round
from tests.faults.running import Stuck
from tests.faults.servers import Servers, store

LIVE_S = 12.0  # so long the part of a stream takes that is published while roles run


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


@dataclass
class Row:
    """What came of all rounds of one fault. `ends` is how often a role ended by itself, and was begun again."""

    fault: str
    what: str
    promise: str
    rounds: int = 0
    injected: int = 0
    records: int = 0
    ends: int = 0
    counts: Counts = field(default_factory=Counts)
    recoveries: list[float] = field(default_factory=list)

    @property
    def bad(self) -> dict[str, int]:
        """What there is that should not be."""
        return self.counts.bad

    def shown(self) -> dict[str, Any]:
        """The row as JSON has it. `wrong` is all that is neither lost nor repeated; the kinds stand beside it."""
        counts, times = self.counts, sorted(self.recoveries)
        return {
            "fault": self.fault,
            "what": self.what,
            "promise": self.promise,
            "rounds": self.rounds,
            "injected": self.injected,
            "records": self.records,
            "lost": counts.lost,
            "repeated": counts.repeated,
            "wrong": counts.wrong + counts.torn + counts.reordered + counts.stuck,
            "torn": counts.torn,
            "reordered": counts.reordered,
            "stuck": counts.stuck,
            "known_repeats": counts.known_repeats,
            "ended_by_themselves": self.ends,
            "recovery_p50_s": round(statistics.median(times), 2) if times else None,
            "recovery_max_s": round(times[-1], 2) if times else None,
            "notes": counts.notes,
        }


def run_fault(fault: Fault, servers: Servers, rounds: int, records: int, kills: int, seed: int) -> Row:
    """So many rounds of a fault."""
    row = Row(fault.name, fault.what, fault.promise)
    why_not = fault.needs() if fault.needs is not None else ""
    if why_not:
        say(f"{fault.name}: not run, {why_not}")
        return row
    for number in range(rounds):
        run_round(fault, servers, records, kills, seed * 1_000 + number, row)
    return row


def run_round(fault: Fault, servers: Servers, records: int, kills: int, seed: int, row: Row) -> None:
    """One round: everything it found is added to the row."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="penstock-faults-"))
    with store(**fault.store) if fault.own is None else fault.own() as (valkey, url, _):
        round = Round(servers, valkey, url, fault.flow, records, seed, folder)
        round.kills = kills
        counts = Counts()
        try:
            if fault.prepare is not None:
                fault.prepare(round)
            round.workers = {**round.workers, **(fault.workers or {})}
            round.begin(records / LIVE_S)
            fault.inject(round)
            if fault.judge is not None:
                counts = fault.judge(round)
            else:
                round.finish()
                counts = round.check()
        except Stuck as error:
            counts.add("stuck", str(error))
        except Exception:
            counts.add("stuck", traceback.format_exc())
        finally:
            round.close()
        row.rounds += 1
        row.injected += round.injected
        row.records += len(round.records)
        row.ends += len(round.ends)
        row.recoveries += round.recoveries
        row.counts += counts
    shutil.rmtree(folder, ignore_errors=True)
    recovered = ", ".join(f"{one:.1f}" for one in round.recoveries)
    said = counts.bad or "nothing lost, repeated or wrong"
    ended = f", ended by themselves: {round.ends}" if round.ends else ""
    say(
        f"{fault.name}: {round.injected} done to {len(round.records):,} records in {time.monotonic() - began:.0f} s, {said}; "
        f"recovered in [{recovered}] s, {counts.known_repeats} recognisable repeats{ended}"
    )
    for note in counts.notes[:6]:
        say(f"    {note[:1_500]}")


def table(rows: list[Row], planted: list[Any]) -> str:
    """Both tables, for people."""
    lines = [f"{'fault':42} rounds injected  records lost repeated wrong  p50 s  max s"] if rows else []
    for row in rows:
        one = row.shown()
        times = [
            f"{one[name]:6.1f}" if one[name] is not None else "     -"
            for name in ("recovery_p50_s", "recovery_max_s")
        ]
        lines.append(
            f"{one['fault']:42} {one['rounds']:6} {one['injected']:8} {one['records']:8} {one['lost']:4} {one['repeated']:8} "
            f"{one['wrong']:5} {' '.join(times)}"
        )
    if planted:
        lines += ["", f"{'planted bug':42} rounds caught by"]
    for found in planted:
        lines.append(f"{found.bug:42} {found.rounds:6} {found.caught_by or 'NOT CAUGHT'}")
    return "\n".join(lines)
