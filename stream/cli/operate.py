"""`penstock retrain|rollback|hold|resume|promote|accept PIPELINE`: ask for it, and see it decided and carried out."""

from __future__ import annotations

import argparse
import getpass
import json
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer

from penstock.stream import topology
from penstock.stream.cli.check_request import check_request
from penstock.stream.control.step import addressed
from penstock.stream.log.kafka_python import client, read_positions
from penstock.stream.messages import OperatorRequest
from penstock.stream.operate.asking import DONE, NO_ANSWER, VERBS, Answer, news, record_of, take
from penstock.stream.operate.pipelines import check_pipeline
from penstock.stream.operate.status import models_of
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.process.terminal import printable

PLACED = """
The version gets all the weight, and is the committed one. A hold ends. Labels that come after that may take the weight away
again. With --pin it predicts alone, whatever labels say, until `penstock resume`, or a rollback or promotion without --pin.
Where the definition asks for approval, the committed version always predicts alone; weights, and a hold, stay as they are.
"""
ABOUT = {
    "rollback": PLACED
    + "\nWithout --version it is the newest frozen copy, or else the first model. A frozen copy learns no more, and one that\n"
    "predicts alone stays as it is; else a copy of it that goes on learning takes part beside it, with half of the weight.\n",
    "promote": PLACED,
    "retrain": "\nThe job runs beside the flow. Its product takes part with little weight, and gains by every label that\n"
    "it foresaw better than the others. Nothing more has to be done; `penstock promote` gives it all the weight at once.\n"
    "A retrain that is under way is joined if it learns from the same samples. A request that waits for a person is approved by\n"
    "this. The definition's cooldown never holds it back.\n",
    "accept": "\nOpen episodes about lost skill end, and the ranges that a guard fires on are learned anew.\n",
    "resume": "\nLabels of samples that came during the hold stay out. When a pin ends, the models predict\n"
    "together again, with the weights that labels gave them meanwhile.\n",
}
EXAMPLES = """\
examples:
  penstock {verb} flights --reason "pager 4711"
  penstock {verb} flights --shard 3 --reason "pager 4711"       one shard of a pipeline that learns in shards; without it, all
{more}{about}
The request goes to {topic}; the control role decides on it and the learn role carries it out. The command waits for both
and prints them. Exit codes: 0 done, 1 refused, 2 could not ask, 3 no answer within --wait (the request stands: look at
`penstock watch`, or ask again with the same --id, which never does anything twice)."""
MORE = {
    "rollback": "  penstock rollback flights --version previous --reason ...     to what was committed before\n"
    "  penstock rollback flights --version v12 --reason ...          to this version; `penstock models` lists them\n"
    "  penstock rollback flights --version v12 --pin --reason ...    and keep it, whatever labels say\n"
    "  penstock rollback flights --from-position 81000 --reason ...  to the newest frozen copy born before this position\n",
    "promote": "  penstock promote flights --version v12 --reason ...           this version; `penstock models` lists them\n",
    "retrain": "  penstock retrain flights --from-position 81000 --reason ...   learn from this position of the samples log on\n"
    "  penstock retrain flights --window 30d --reason ...            learn from the last 30 days of event time\n",
}
POLL_MS = 100


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the commands, one per verb."""
    for name, what in VERBS.items():
        command = subparsers.add_parser(
            name,
            help=what,
            description=what[0].upper() + what[1:] + ".",
            epilog=EXAMPLES.format(
                verb=name, more=MORE.get(name, ""), about=ABOUT.get(name, ""), topic=topology.CONTROL_COMMANDS
            ),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("pipeline", metavar="PIPELINE", help="its name, as in the definition")
        command.add_argument(
            "--shard",
            type=int,
            metavar="N",
            help="of a pipeline that learns in shards: this one alone (default: all)",
        )
        command.add_argument(
            "--reason", required=True, help="why; it is kept with the decision and the model"
        )
        if name in ("rollback", "promote"):
            usual = "frozen copy" if name == "rollback" else "product of a retrain"
            meant = f"an id, champion, previous or a name (default: the newest {usual})"
            command.add_argument("--version", help=f"the version meant: {meant}")
            command.add_argument(
                "--pin", action="store_true", help="keep it, predicting alone, whatever labels say"
            )
        if name in ("rollback", "retrain"):
            command.add_argument(
                "--from-position",
                type=int,
                metavar="N",
                help="learn from this offset of the samples log on (default: its start)"
                if name == "retrain"
                else "the newest frozen copy born before this offset of the samples log is meant",
            )
        if name == "retrain":
            command.add_argument(
                "--window",
                default="",
                metavar="W",
                help="learn from: all, since-onset (of what is open now), or the last so long of event time, such as 30d "
                "(default: the definition's retrain_window, or all)",
            )
        command.add_argument("--by", default=None, help="who asks (default: you, on this host)")
        command.add_argument(
            "--id", default=None, help="the request's id, to ask again safely (default: a new one)"
        )
        command.add_argument(
            "--wait",
            type=float,
            default=30.0,
            metavar="S",
            help="seconds to wait (default 30; 0: do not wait)",
        )
        command.add_argument("--json", action="store_true", help="print the result as one JSON object")
        command.set_defaults(run=run, verb=name, version=None, from_position=None, pin=False, window="")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Ask, wait and print."""
    name = args.pipeline if args.shard is None else topology.shard_name(args.pipeline, args.shard)
    request = OperatorRequest(
        id=args.id or str(uuid.uuid4()),
        pipeline=name,
        verb=args.verb,
        reason=args.reason,
        by=args.by or f"{getpass.getuser()}@{socket.gethostname()}",
        version=args.version,
        from_position=args.from_position,
        wall_ms=time.time_ns() // 1_000_000,
        pin=args.pin,
        window=args.window,
        source="cli",
    )
    check_request(request)
    more = {"enable_auto_commit": False, "allow_auto_create_topics": False}
    with client(KafkaConsumer, settings, **more) as consumer, client(KafkaProducer, settings) as producer:
        check_pipeline(consumer, name, settings.prefix)
        names = models_of(consumer, name, settings.prefix)
        if len(names) > 1 and (request.version is not None or request.from_position is not None):
            raise SettingError(
                f"{name!r} learns in {len(names)} shards, each with versions and positions of its own: say which with --shard N"
            )
        if request.version is not None:
            from penstock.stream.cli.model_registry import (
                looked_up,  # the store and river take seconds to import
            )

            request = looked_up(request, settings)
        answers = [Answer(one) for each in names if (one := addressed(request, each)) is not None]
        decisions, models = (
            settings.prefix + name for name in (topology.CONTROL_DECISIONS, topology.CONTROL_MODELS)
        )
        read_positions(consumer, [models, decisions], from_start=True)
        record = record_of(request, settings.prefix)
        sent = producer.send(record.topic, key=record.key, value=record.value)
        sent.get(settings.connect_timeout_s)
        if not args.json:
            print(printable(f"asked: {request.verb} {request.pipeline}, request {request.id}"), flush=True)
        if args.wait <= 0:
            if args.json:
                print(json.dumps({"request": request.id}))
            return DONE
        wait(consumer, answers, args.wait, settings.prefix, quiet=args.json)
    if args.json:
        print(json.dumps(all_as_json(request, answers)))
    for answer in answers:
        if answer.code == NO_ANSWER and not args.json:
            role = "control" if answer.decision is None else "learn"
            print(
                f"{of_shard(answer, answers)}no answer of the {role} role within {args.wait:g} s: is it running? "
                "The request stands.",
                file=sys.stderr,
            )
    return max(answer.code for answer in answers)


def wait(
    consumer: KafkaConsumer, answers: Sequence[Answer], wait_s: float, prefix: str, *, quiet: bool
) -> None:
    """Read decisions and models until each request is settled or the time is over, telling each step once."""
    deadline_s = time.monotonic() + wait_s
    while not all(answer.settled for answer in answers) and time.monotonic() < deadline_s:
        for records in consumer.poll(timeout_ms=POLL_MS).values():
            for record in records:
                for answer in answers:
                    take(answer, record.topic.removeprefix(prefix), record.value)
        for answer in answers:
            for line in news(answer):
                if not quiet:
                    print(of_shard(answer, answers) + line, flush=True)


def of_shard(answer: Answer, answers: Sequence[Answer]) -> str:
    """What a line begins with where several shards answer."""
    return f"shard {topology.shard_of(answer.request.pipeline)}: " if len(answers) > 1 else ""


def all_as_json(request: OperatorRequest, answers: Sequence[Answer]) -> dict[str, Any]:
    """The result for programs; that of a whole pipeline that learns in shards has each shard's."""
    if len(answers) == 1:
        return as_json(answers[0])
    shards = {one.request.pipeline: as_json(one) for one in answers}
    return {"request": request.id, "settled": all(one.settled for one in answers), "shards": shards}


def as_json(answer: Answer) -> dict[str, Any]:
    """The result for programs."""
    command = answer.decision.command if answer.decision else None
    return {
        "request": answer.request.id,
        "settled": answer.settled,
        "refusal": answer.refusal,
        "decision": None if answer.decision is None else msgspec.to_builtins(answer.decision),
        "command": None if command is None else msgspec.structs.asdict(command),
        "live": None if answer.live is None else msgspec.to_builtins(answer.live),
    }
