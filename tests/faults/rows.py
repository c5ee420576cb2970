"""Rounds of a fault become a row, and rows a table.

Laws of this file: a round is judged in a process of its own while the next one runs, unless that one harms the broker. Its topics
and its Valkey stay until then.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.counts import Counts
from tests.faults.fault import Fault
from tests.faults.round import Round, judged
from tests.faults.running import Stuck
from tests.faults.servers import Servers, store

LIVE_S = 12.0  # so long the part of a stream takes that is published while roles run
SHORT_RECORDS, SHORT_LIVE_S = 20_000, 6.0  # of fewer records
#: After each harm: two batches of 150 events of two workers with two outputs each, two of learn's 200, and as much again where a
#: store refuses in the middle.
MOST_AGAIN = 2_500


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

    def resume(self, shown: Mapping[str, Any]) -> None:
        """Go on from what `shown` gave for the rounds before."""
        self.rounds, self.injected, self.records = shown["rounds"], shown["injected"], shown["records"]
        self.ends, self.recoveries = shown["ended_by_themselves"], list(shown["recoveries_s"])
        kinds = (
            "lost",
            "repeated",
            "reordered",
            "torn",
            "stuck",
            "ended",
            "known_repeats",
            "events_back",
            "positions_back",
        )
        wrong = shown["wrong"] - sum(shown[kind] for kind in ("torn", "reordered", "stuck", "ended"))
        self.counts = Counts(**{kind: shown[kind] for kind in kinds}, wrong=wrong, notes=list(shown["notes"]))

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
            "wrong": counts.wrong + counts.torn + counts.reordered + counts.stuck + counts.ended,
            "torn": counts.torn,
            "reordered": counts.reordered,
            "stuck": counts.stuck,
            "ended": counts.ended,
            "known_repeats": counts.known_repeats,
            "events_back": counts.events_back,
            "positions_back": counts.positions_back,
            "ended_by_themselves": self.ends,
            "recoveries_s": [round(one, 2) for one in self.recoveries],
            "recovery_p50_s": round(statistics.median(times), 2) if times else None,
            "recovery_max_s": round(times[-1], 2) if times else None,
            "notes": counts.notes,
        }


def run_faults(
    faults: Sequence[Fault],
    servers: Servers,
    rounds: int,
    records: int,
    kills: int,
    seed: int,
    *,
    ends_s: float = math.inf,
    before: Sequence[Mapping[str, Any]] = (),
    told: Callable[[list[Row]], None] = lambda rows: None,
) -> list[Row]:
    """So many rounds of each fault, in turns, so that there is something of each whenever it is ended.

    No round is begun that would likely not be over at `ends_s` (`time.monotonic`). `before` are rows as they were shown, whose
    rounds count and are not done again. `told` hears of the rows after every round.
    """
    rows = {fault.name: Row(fault.name, fault.what, fault.promise) for fault in faults}
    for shown in before:
        if shown["fault"] in rows:
            rows[shown["fault"]].resume(shown)
    done_before = {name: row.rounds for name, row in rows.items()}
    able = []
    for fault in faults:
        why_not = fault.needs() if fault.needs is not None else ""
        if why_not:
            say(f"{fault.name}: not run, {why_not}")
        else:
            able.append(fault)
    took: dict[str, float] = {}
    todo = [
        (number, fault) for number in range(rounds) for fault in able if number >= done_before[fault.name]
    ]
    judge_last: Callable[[], None] = lambda: None  # noqa: E731
    with judges() as pool:
        for done, (number, fault) in enumerate(todo):
            usual_s = statistics.mean(took.values()) if took else 0.0
            if time.monotonic() + 1.5 * took.get(fault.name, usual_s) > ends_s:
                continue
            left_s = sum(took.get(one.name, usual_s) for _, one in todo[done:])
            over = time.strftime("%H:%M", time.localtime(time.time() + left_s)) if took else "unknown"
            say(f"round {done + 1} of {len(todo)}, {fault.name}; the end of all is expected at {over}")
            began = time.monotonic()
            if fault.alone:
                judge_last()
                judge_last = lambda: None  # noqa: E731
            judge = run_round(fault, servers, records, kills, seed * 1_000 + number, rows[fault.name], pool)
            judge_last()
            judge_last = judge
            took[fault.name] = time.monotonic() - began
            told(list(rows.values()))
        judge_last()
    told(list(rows.values()))
    return list(rows.values())


def judges() -> ProcessPoolExecutor:
    """A process that judges a round while the next one runs, if nothing else wants the CPU."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), os.nice, (19,))


def run_round(
    fault: Fault, servers: Servers, records: int, kills: int, seed: int, row: Row, pool: ProcessPoolExecutor
) -> Callable[[], None]:
    """One round, up to where its roles have ended. What is returned waits for its judgement, and adds all to the row."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="penstock-faults-"))
    counts: Counts | None = None
    left: Future[Counts] | None = None
    with ExitStack() as opened:
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        made = store(**fault.store) if fault.own is None else fault.own()
        valkey, url, _ = opened.enter_context(made)
        if fault.broker is not None:
            servers = opened.enter_context(fault.broker())
        round = Round(servers, valkey, url, fault.flow, records, seed, folder)
        opened.callback(round.close)
        round.kills = kills
        try:
            if fault.prepare is not None:
                fault.prepare(round)
            round.workers = {**round.workers, **(fault.workers or {})}
            round.begin(records / (LIVE_S if records >= SHORT_RECORDS else SHORT_LIVE_S))
            fault.inject(round)
            if fault.judge is not None:
                counts = fault.judge(round)
            else:
                round.finish()
                left = pool.submit(judged, round.left())
        except Exception as error:
            counts = Counts()
            counts.add("stuck", str(error) if isinstance(error, Stuck) else traceback.format_exc())
        round.end()
        rest = opened.pop_all()
    took_s = time.monotonic() - began

    def judge() -> None:
        with rest:
            found = counts
            try:
                found = found or (left.result() if left is not None else Counts())
            except Exception:
                found = Counts()
                found.add("stuck", traceback.format_exc())
        if not round.injected and not found.stuck:
            found.add("stuck", "nothing was harmed")
        if found.known_repeats > MOST_AGAIN * max(round.injected, 1):
            found.add(
                "repeated",
                f"{found.known_repeats} outputs were written again, though with the ids that they had",
            )
        if not round.patient:
            for role, code, said in round.ends:
                found.add("ended", f"{role} ended by itself with exit code {code}: {said}")
        row.rounds += 1
        row.injected += round.injected
        row.records += len(round.records)
        row.ends += len(round.ends)
        row.recoveries += round.recoveries
        row.counts += found
        tell(fault, round, found, took_s)

    return judge


def tell(fault: Fault, round: Round, counts: Counts, took_s: float) -> None:
    """Say what came of a round."""
    recovered = ", ".join(f"{one:.1f}" for one in round.recoveries)
    said = counts.bad or "nothing lost, repeated or wrong"
    ended = f", ended by themselves: {round.ends}" if round.ends else ""
    say(
        f"{fault.name}: {round.injected} done to {len(round.records):,} records in {took_s:.0f} s, {said}; "
        f"recovered in [{recovered}] s, {counts.known_repeats} recognisable repeats, of at most {counts.events_back} events and "
        f"{counts.positions_back} positions before{ended}"
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
