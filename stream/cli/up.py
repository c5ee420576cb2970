"""`penstock up FILE`: local servers and every role on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from kafka import KafkaAdminClient

from penstock.features.redis.connecting import without_secrets
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.demo.processes import DemoFailed, Role
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.process.settings import Settings, child_environment
from penstock.stream.roles import start
from penstock.stream.stack import StackError, local_stack

EXAMPLES = """\
examples:
  penstock up examples/cards.py                         when it ends, everything in its servers is gone
  penstock up examples/cards.py --keep                  their data stay in .penstock/ and are there at the next --keep
  penstock up my/fraud.py --keep /var/tmp/fraud         or in a folder of your choice
  penstock up my/fraud.py --servers-only --keep         Kafka, Redis and the topics, and no role: to `penstock bootstrap` first
  python -m penstock.examples.cards_data --bootstrap ADDRESS   then publish, in a second terminal, to the address it printed

It prints `export` lines: with them every other command of a second terminal reaches the same servers and the same models.
Servers are, in this order: those at KAFKA_BOOTSTRAP_SERVERS and REDIS_URL, which keep their own data; Docker's; Apache Kafka on
Java 17 with a Valkey of its own. --keep keeps topics, offsets, features, model versions and the secret that signs them, at the
same addresses if they are free; delete the folder to forget it all (with Docker the data are in volumes: docker volume ls).

--servers-only starts the servers and no role. With FILE it creates the topics, too; without, only the servers are there."""
KEPT = ".penstock"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "up",
        help="local servers and every role, until Ctrl-C",
        description="Find or start Kafka and Redis, create the topics (sources too), and run every role.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "file", metavar="FILE", nargs="?", help="the definition file; with --servers-only it may be left out"
    )
    command.add_argument("--servers-only", action="store_true", help="Kafka and Redis, and no role")
    command.add_argument(
        "--partitions", type=int, default=2, metavar="N", help="of the source topics it creates (default 2)"
    )
    command.add_argument(
        "--keep",
        metavar="DIR",
        nargs="?",
        const=KEPT,
        help=f"keep the servers' data in this folder, and find them there again (without DIR: {KEPT})",
    )
    command.set_defaults(run=run)


def say(line: str) -> None:
    """One line, at once."""
    print(line, flush=True)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Start everything, wait, stop everything."""
    if args.file is None and not args.servers_only:
        raise StackError(
            "name the definition file: `penstock up FILE`, or start the servers alone: `penstock up --servers-only`"
        )
    pipeline = None if args.file is None else load(args.file)
    stopped = start.until_told()
    keep = None if args.keep is None else Path(args.keep).absolute()
    with local_stack(progress=say, keep=keep) as stack:
        for line in stack.description:
            say(line)
        if stack.kafka is None:
            raise StackError(
                "`penstock up` needs a broker: install Java 17 and Maven, or Docker, or set KAFKA_BOOTSTRAP_SERVERS"
            )
        here = Settings(
            bootstrap=stack.kafka,
            redis_url=stack.redis_url,
            secret=settings.secret or kept_secret(keep),
            former_secrets=settings.former_secrets,
            mlflow=settings.mlflow,
            models=settings.models,
            prefix=settings.prefix,
            kafka=settings.kafka,
        )
        if pipeline is not None:
            create(pipeline, here, args.partitions)
        ends = "Ctrl-C ends everything" + ("." if keep is None else f"; the data stay in {keep}.")
        told = [*exports(here, given=bool(settings.secret)), ends]
        if pipeline is None or args.servers_only:
            say("\n".join(["the servers are ready, and no role runs. In another terminal:", *told]))
            while not stopped():
                time.sleep(0.5)
            return 0
        try:
            run_roles(pipeline, args.file, here, told, stopped)
        except DemoFailed as error:
            raise StackError(str(error)) from None
    return 0


def create(pipeline: Pipeline, here: Settings, partitions: int) -> None:
    """Create the pipeline's topics, those of its sources included."""
    sources = [topology.Topic(source.name, partitions, {}, "events") for source in pipeline.sources]
    with kafka_python.client(KafkaAdminClient, here) as admin:
        ensure(admin, [*sources, *topology.owned(pipeline.name, here.prefix, pipeline.shards)])


def exports(here: Settings, *, given: bool) -> list[str]:
    """The lines by which another terminal reaches the same servers; a secret that was `given` is not shown."""
    lines = [
        f"  export KAFKA_BOOTSTRAP_SERVERS={here.bootstrap} REDIS_URL={without_secrets(here.redis_url)}",
        # One that was given is known to whoever gave it, and this may be somebody's log.
        f"  export PENSTOCK_SECRET={'…' if given else here.secret}",
    ]
    return [*lines, f"  export PENSTOCK_PREFIX={here.prefix}"] if here.prefix else lines


def run_roles(
    pipeline: Pipeline, file: str, here: Settings, told: Sequence[str], stopped: Callable[[], bool]
) -> None:
    """Run every role until `stopped`; `told` is said once they are ready. Raises `DemoFailed` where one ends or is not."""
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="penstock-up-")))
        running: list[Role] = []
        race = ("challenge",) if pipeline.challengers else ()
        serve = ("serve",) if pipeline.shards == 1 else ()  # it knows of one model a pipeline
        for name in ("control", "featurize", "learn", *serve, "console", *race):
            running.append(Role(name, file, child_environment(here), folder))
            closing.callback(running[-1].stop)
        for role in running:
            if not role.wait_ready(say=say, stopped=stopped):
                return
            say(f"{role.name:<10} http://127.0.0.1:{role.port}/metrics")
        ports = {role.name: role.port for role in running}
        if serve:
            say(f"predictions on request: http://127.0.0.1:{ports['serve']}/docs")
        else:
            say("the serve role is not started: it does not know shards yet")
        say(f"pages to look at: http://127.0.0.1:{ports['console']}/")
        *addresses, ends = told
        say("\n".join(["ready. In another terminal:", *addresses, f"  penstock watch {pipeline.name}", ends]))
        while not stopped():
            for role in running:
                role.check()
            time.sleep(0.5)


def kept_secret(keep: Path | None) -> str:
    """A new secret, or the one that was kept: what it signed must open again. Only its owner can read the file."""
    if keep is None:
        return secrets.token_hex(32)
    path = keep / "secret"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text().strip()
