"""Six changes of the flights' definition, on a real Kafka and Valkey: what `penstock plan` says they take, beside what they took.

    penstock bench plan [--days N] [--only CHANGE]... [--json FILE]

The flights of the first days of 2013 are featurized and learned once. Then each change is planned, with a backtest, and carried
out: by `penstock backfill`'s own code where views change, and by a learn worker that folds the samples log anew. Redis is put
back as it was before the next one. `ratio` is what was said over what was seen.

Laws of this file:
- Seconds are those that the work takes of the CPU, of this process and of both servers, without the start of a process: so
  much it takes by the clock where nobody else works, and it is the same whoever does. What the clock said stands beside it.
- Bytes are what Redis says each key takes. Those in the middle of a change are seen in a second run of it, which is not timed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient

from benchmarks.peers import machine, say
from benchmarks.plan_changes import CHANGES, changed, definition
from benchmarks.size_running import cpu_s
from benchmarks.written import write
from penstock.examples import flights_data
from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.store import RedisStateStore, connect
from penstock.stream import topology
from penstock.stream.backfill.run import Backfill
from penstock.stream.definition_file import load
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import encode_json
from penstock.stream.operate.recipe_change import CannotCompare
from penstock.stream.plan.live import World
from penstock.stream.plan.run import plan, without_time
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.roles.what_if import what_if
from penstock.stream.stack import local_stack

PARTITIONS = 4
DAYS = 31
BACKTEST = "14d"
BATCH = 5_000
RESTORED = 500
QUIET_TURNS = 3
POLL_S = 0.05


class Timed:
    """Seconds since it was made: by the clock, and of the CPU of this process and of the servers."""

    def __init__(self, servers: list[int]) -> None:
        self.servers = servers
        self.wall_s, self.cpu_s = time.perf_counter(), self._cpu_s()

    def _cpu_s(self) -> float:
        return time.process_time() + sum(cpu_s(pid) for pid in self.servers)

    def took(self) -> dict[str, float]:
        """Both."""
        return {
            "wall": round(time.perf_counter() - self.wall_s, 2),
            "cpu": round(self._cpu_s() - self.cpu_s, 2),
        }


class Flights:
    """The flights' pipeline, which lived through the first days of 2013."""

    def __init__(self, folder: Path, kafka: str, redis_url: str, days: int, servers: list[int]) -> None:
        self.folder, self.servers = folder, servers
        self.settings = Settings.from_env(
            {"KAFKA_BOOTSTRAP_SERVERS": kafka, "REDIS_URL": redis_url, "PENSTOCK_SECRET": "bench"}
        )
        self.file = self.written("flights.py", definition())
        self.pipeline = load(self.file)
        sources = [topology.Topic(one.name, PARTITIONS, {}, "events") for one in self.pipeline.sources]
        with kafka_python.client(KafkaAdminClient, self.settings) as admin:
            ensure(admin, [*topology.owned(self.pipeline.name), *sources])
        self.log: Any = KafkaLog(kafka)
        self.client: Any = connect(redis_url)
        self.keyspace = RedisKeyspace(self.client)
        self.world = World(self.log, self.keyspace, self.client)
        self.took: dict[str, dict[str, float]] = {}
        self.live(days)
        keys = list(self.client.scan_iter(count=RESTORED))
        self.kept = [(key, max(self.client.pttl(key), 0), self.client.dump(key)) for key in keys]

    def written(self, name: str, text: str) -> str:
        """A definition file."""
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def live(self, days: int) -> None:
        """Publish the first days, and let the roles work them off."""
        records = 0
        events = flights_data.events(end=date(2013, 1, 1) + timedelta(days=days))
        while batch := list(itertools.islice(events, BATCH)):
            outs = [(topic, None if key is None else key.encode(), fields) for topic, key, fields, _ in batch]
            self.log.append([Out(topic, key, encode_json(fields)) for topic, key, fields in outs])
            records += len(batch)
        flow = MemoryFlow(self.pipeline, log=self.log, client=self.client)
        quiet = done = 0
        while quiet < QUIET_TURNS or done < records:
            worked = flow.featurize.process_batch(POLL_S)
            done += worked
            quiet = (
                0
                if worked + flow.learn.process_batch(POLL_S) + flow.control.process_batch(0.0)
                else quiet + 1
            )
        flow.close()
        say(f"{records:,} records of {days} days are featurized and learned")

    def restore(self) -> None:
        """Redis as it was when the roles had ended."""
        self.client.flushall()
        for at in range(0, len(self.kept), RESTORED):
            pipe = self.client.pipeline(transaction=False)
            for key, ttl_ms, value in self.kept[at : at + RESTORED]:
                pipe.restore(key, ttl_ms, value)
            pipe.execute()

    def bytes_of(self, views: set[str]) -> int:
        """What Redis says that the states and documents of these views take, builds included."""
        keys = [
            key
            for key in self.client.scan_iter(count=RESTORED)
            if any(
                f":{view}@".encode() in key or key.startswith(f"features:flights:{view}:".encode())
                for view in views
            )
        ]
        pipe = self.client.pipeline(transaction=False)
        for key in keys:
            pipe.memory_usage(key)
        return sum(size or 0 for size in pipe.execute())

    def backfill(self, file: str, progress: Any = lambda what, done, total: None) -> Backfill:
        """The change of this file, ready to run."""
        name, client = self.pipeline.name, self.client
        store_of = lambda task: RedisStateStore(client, name, task)  # noqa: E731
        return Backfill(load(file), self.log, store_of, self.keyspace, wall_ms, progress=progress)

    def folded_again(self, file: str) -> dict[str, float]:
        """How long a learn worker of this definition takes from its first record to the end of the samples log."""
        flow = MemoryFlow(load(file), log=self.log, client=self.client)
        end = self.log.bounds([(topology.samples("flights"), 0)])[(topology.samples("flights"), 0)][1]
        while flow.learn.fold is None:
            flow.learn.process_batch(POLL_S)
        timed = Timed(self.servers)
        while flow.learn.fold is None or flow.learn.fold.position < end:
            flow.learn.process_batch(POLL_S)
        took = timed.took()
        flow.close()
        return took

    def backtested(self, file: str, since: int) -> dict[str, Any]:
        """What `penstock what-if FILE --from T` says."""
        try:
            return without_time(what_if(file, start=since, log=self.log, settings=self.settings))
        except CannotCompare as error:
            return {"refused": str(error)}

    def one(self, name: str) -> dict[str, Any]:
        """Plan a change, carry it out, and hold the two against each other."""
        file = self.written(f"{name}.py", changed(name))
        began_s = time.perf_counter()
        found = plan(file, world=self.world, settings=self.settings)
        plan_s = time.perf_counter() - began_s
        tested = plan(file, backtest=BACKTEST, world=self.world, settings=self.settings).as_json()["backtest"]
        said = {
            key: value for key, value in tested.items() if key not in ("asked", "since", "worse", "tolerance")
        }
        equal = said == self.backtested(file, tested.get("since", 0))
        assert found.cost is not None
        cost, seen, views = found.cost, {}, {view.name for view in self._changed_views(found.columns)}
        self.took = {}
        if found.changes:
            seen = self._carried_out(file, views)
        self.took["fold"] = self.folded_again(file)
        seen["fold_seconds"] = self.took["fold"]["cpu"]
        self.restore()
        told = cost.as_json()
        ratio = {key: round(told[key] / seen[key], 2) for key in seen if seen[key] and key in told}
        say(
            f"{name:7} {'; '.join(f'{key} {told[key]:,} said, {seen[key]:,} seen' for key in seen)}; backtest equal: {equal}"
        )
        return {
            "changes": found.changes or found.others, "verdict": found.verdict(), "said": told, "seen": seen, "ratio": ratio,
            "took": self.took, "plan_seconds": round(plan_s, 2), "backtest_equal": equal,
            "backtest": said.get("verdict", said.get("refused")),
            "load": round(os.getloadavg()[0], 1),
        }  # fmt: skip

    def _changed_views(self, columns: Any) -> list[Any]:
        names = {one.view for one in columns if one.fate != "kept" or one.why}
        return [view for view in self.pipeline.views if view.name in names]

    def _carried_out(self, file: str, views: set[str]) -> dict[str, Any]:
        """The backfill: once against the clock, once beforehand to look at Redis in its middle."""
        most = now = self.bytes_of(views)

        def look(what: str, done: int, total: int) -> None:
            nonlocal most
            if what.startswith("converting") or what.startswith("settling"):
                most = max(most, self.bytes_of(views))

        self.backfill(file, look).run()
        self.restore()
        ready, timed = self.backfill(file), Timed(self.servers)
        report = ready.run()
        self.took["backfill"] = timed.took()
        return {
            "records": report.records_read,
            "seconds": self.took["backfill"]["cpu"],
            "states": report.kept_states + report.rebuilt_states,
            "redis_bytes_meanwhile": most - now,
            "redis_bytes_then": self.bytes_of(views),
        }


def main(arguments: list[str] | None = None) -> int:
    """Carry the changes out in turn; print a line for each, and one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--days", type=int, default=DAYS, metavar="N", help=f"of flights (default {DAYS})")
    parser.add_argument(
        "--only", action="append", choices=[*CHANGES, "fit"], help="may be given several times"
    )
    asked = parser.parse_args(arguments)
    settle_memory()
    with local_stack("auto", env={}) as stack, tempfile.TemporaryDirectory(prefix="penstock-plan-") as folder:
        if stack.kafka is None:
            sys.exit("no Kafka, and this needs one: " + "; ".join(stack.description))
        made = Flights(
            Path(folder),
            stack.kafka,
            stack.redis_url,
            asked.days,
            [one.pid for one in stack.servers.values()],
        )
        try:
            found = {name: made.one(name) for name in asked.only or CHANGES}
        finally:
            made.log.close()
    of = [value for one in found.values() for key, value in one["ratio"].items()]
    within = all(0.5 <= value <= 2.0 for value in of)
    equal = all(one["backtest_equal"] for one in found.values())
    say(
        f"said over seen: {min(of):g} to {max(of):g}; all within a factor of two: {within}; backtests equal: {equal}"
    )
    write(
        {
            "machine": machine(),
            "days": asked.days,
            "changes": found,
            "within_two": within,
            "backtests_equal": equal,
        },
        asked.json,
    )
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
