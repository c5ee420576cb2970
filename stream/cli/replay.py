"""`penstock replay FILE`: fold the samples log again and see whether it gives the model that is live, or a stored version."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from contextlib import closing
from typing import Any, NamedTuple

import msgspec
import river

from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.records import rules
from penstock.stream.learn.replay import replay
from penstock.stream.learn.snapshot import SnapshotHeader
from penstock.stream.log.protocol import Log
from penstock.stream.models.store import MemoryModelStore, ModelStore
from penstock.stream.models.version import NAMED, BadEnvelope, Version, open_version
from penstock.stream.operate.registry import IMPORTED, RegistryError, find
from penstock.stream.operate.stored_header import CannotSay, guarded, snapshot_of
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start

EXAMPLES = """\
examples:
  penstock replay examples/flights.py                      is the live model what the log says? (as of its last snapshot)
  penstock replay examples/flights.py --version v12        can this version be made again from the log?
  penstock replay examples/flights.py --json | jq .equal

Only the samples log is folded, from its start, with every command in it; nothing is written. Versions that a command took from
the store by its digest (imports, and names that people gave) are read there, with PENSTOCK_SECRET. The digest covers the
model's whole state, and without --version also every prediction and command since the log's start. Equal digests are
promised inside the retained log, under the same Python, river and platform.
Exit codes: 0 equal, 1 not equal, 2 it cannot be said."""
SAY_S = 2.0


class Wanted(NamedTuple):
    """What a replay of [the log's start, `stop`) must give; `stop` None is the log's end."""

    what: str
    position: int
    stop: int | None
    digest: str
    recipe: str
    python: str
    river: str
    topic_id: str | None
    rules: str | None
    version: Version | None


class Replayed(NamedTuple):
    """What it gave. `digest` is None when the version was not made."""

    records: int
    seconds: float
    digest: str | None


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "replay",
        help="fold the samples log again and compare digests",
        description="Fold the samples log again and compare the model it gives with the live one, or with a version.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--version", metavar="V", help="a stored version (`penstock models FILE` lists them)"
    )
    command.add_argument(
        "--guard", choices=("on", "off"), help="as the learn role runs with (default: as its snapshot says)"
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Find what to compare with, fold, compare."""
    pipeline = load(args.file)
    client = start.open_redis(settings)
    topic = topology.samples(pipeline.name, settings.prefix)
    with closing(start.open_log(settings)) as log:
        try:
            live, header = snapshot_of(client, topology.deployed(pipeline.name, settings.prefix))
            if args.version is None:
                wanted = of_snapshot(pipeline.name, live, header)
            else:
                wanted = of_version(start.model_store(pipeline, settings, client), args.version, live or {})
            guard = args.guard == "on" if args.guard else guarded(pipeline, header)
            outside = start.model_store(pipeline, settings, client) if settings.secret else None
            found = fold(pipeline, log, topic, wanted, outside, guard=guard)
        except CannotSay as error:
            print(f"penstock: {error}", file=sys.stderr)
            return 2
    equal = found.digest == wanted.digest
    if args.json:
        print(json.dumps(as_json(pipeline.name, wanted, found)))
    else:
        print(f"folded    {found.records:,} records of {topic} in {found.seconds:.1f} s")
        print(f"stored    {wanted.digest}  {wanted.what}, position {wanted.position:,}")
        print(f"replayed  {found.digest or 'no such version'}")
        print("equal" if equal else "NOT EQUAL")
    return 0 if equal else 1


def of_snapshot(pipeline: str, live: Any, header: SnapshotHeader | None) -> Wanted:
    """The live model as of its last snapshot."""
    if header is None:
        raise CannotSay(f"Redis has no snapshot of {pipeline!r}: it has one when learn has run for 10 s")
    return Wanted(
        f"live {live['version']}",
        live["position"],
        live["position"],
        live["digest"],
        header.recipe,
        header.python,
        header.river,
        header.topic_id,
        header.rules,
        None,
    )


def of_version(store: ModelStore, version_id: str, live: dict[str, Any]) -> Wanted:
    """A stored version. One that a retrain made stands in the log only where it was adopted, so all of it is folded."""
    try:
        version, payload = find(store, version_id, live)
    except BadEnvelope as error:
        raise CannotSay(f"version {version_id!r} is not used: {error}") from None
    except RegistryError as error:
        raise CannotSay(str(error)) from None
    if version.id.startswith(IMPORTED):
        raise CannotSay(f"{version.id} was imported: this log does not say how it was trained")
    if version.id.startswith(NAMED) and version.parent is not None:  # what was named can be made again
        version = msgspec.structs.replace(version, id=version.parent)
    if (version.python, version.river) == (platform.python_version(), river.__version__):
        try:
            open_version(version, payload)
        except BadEnvelope as error:
            raise CannotSay(str(error)) from None
    stop = None if version.kind == "retrained" else version.position + 1
    return Wanted(
        f"{version.kind} {version.id}",
        version.position,
        stop,
        version.digest,
        version.recipe,
        version.python,
        version.river,
        None,
        None,
        version,
    )


def fold(
    pipeline: Pipeline, log: Log, topic: str, wanted: Wanted, outside: ModelStore | None, *, guard: bool
) -> Replayed:
    """Replay as far as needed; `outside` has imports and named versions. Raises `CannotSay` for what no replay can make."""
    low, high = log.bounds([(topic, 0)])[(topic, 0)]
    if low > 0:
        raise CannotSay(f"records 0 to {low - 1:,} of {topic} are gone: {wanted.what} can only be restored")
    if wanted.position > high or wanted.topic_id not in (None, log.topic_id(topic)):
        raise CannotSay(f"{topic} is not the log that {wanted.what} was made from: it was made anew")
    here_rules = rules(pipeline, guard=guard)
    for what, written, here in (
        ("recipe", wanted.recipe, pipeline.digest),
        ("rules", wanted.rules or here_rules, here_rules),
        ("river", wanted.river, river.__version__),
        ("python", wanted.python, platform.python_version()),
    ):
        if written != here:
            raise CannotSay(f"{wanted.what} was made under {what} {written}, here is {here}")
    stop = high if wanted.stop is None else min(wanted.stop, high)
    made = MemoryModelStore()
    progress = Progress()
    print(f"folding {stop:,} records of {topic}", file=sys.stderr, flush=True)
    ended = replay(
        pipeline, log, topic, stop=stop, guard=guard, progress=progress.say, store=made, outside=outside
    )
    seconds = time.monotonic() - progress.started_s
    if wanted.version is None:
        return Replayed(stop, seconds, ended.digest())
    same = made.get(wanted.version.id)
    if same is None and wanted.version.kind == "retrained":
        raise CannotSay(f"{wanted.what} was never adopted, so the log does not say how it was trained")
    if same is None and not wanted.version.id.endswith(ended.lineage):
        raise CannotSay(
            f"{wanted.what} was made by another fold, of a log that was made anew or under other rules: this one's versions end "
            f"in {ended.lineage}"
        )
    return Replayed(stop, seconds, None if same is None else same[0].digest)


class Progress:
    """A line every `SAY_S` on standard error."""

    def __init__(self) -> None:
        self.started_s = self.said_s = time.monotonic()

    def say(self, position: int, stop: int) -> None:
        """How far, how fast, how long still."""
        now_s = time.monotonic()
        if now_s - self.said_s < SAY_S or not position:
            return
        self.said_s = now_s
        per_s = position / (now_s - self.started_s)
        left_s = (stop - position) / per_s
        print(
            f"{position:,} of {stop:,} records, {per_s:,.0f}/s, {left_s:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def as_json(pipeline: str, wanted: Wanted, found: Replayed) -> dict[str, Any]:
    """The result for programs."""
    return {
        "pipeline": pipeline,
        "what": wanted.what,
        "version": wanted.version.id if wanted.version else None,
        "position": wanted.position,
        "stored": wanted.digest,
        "replayed": found.digest,
        "equal": found.digest == wanted.digest,
        "records": found.records,
        "seconds": round(found.seconds, 3),
    }
