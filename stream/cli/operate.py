"""`penstock retrain|rollback|hold|resume|promote|accept PIPELINE`: ask for it, and see it decided and carried out."""

from __future__ import annotations

import argparse
import getpass
import json
import socket
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer

from penstock.stream import topology
from penstock.stream.cli.check_request import check_request
from penstock.stream.log.kafka_python import client, read_positions
from penstock.stream.messages import (
    Decision,
    LiveModel,
    OperatorRequest,
    Verb,
    decode_decision,
    decode_live_model,
    encode_json,
)
from penstock.stream.operate.control_lines import tell
from penstock.stream.operate.pipelines import check_pipeline
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable

VERBS: dict[str, tuple[Verb, str]] = {
    "retrain": (
        "retrain",
        "train a fresh model beside the others; it then takes part, and labels give it its weight",
    ),
    "rollback": ("rollback", "give an earlier version all the weight, and end a hold"),
    "hold": ("hold", "stop learning; predictions go on"),
    "resume": ("resume", "learn again after a hold, and let a pinned version go"),
    "promote": (
        "promote",
        "give a version all the weight: the newest product of a retrain, or the one you name",
    ),
    "accept": ("accept", "take today's loss, and values that a guard fires on, as the new normal"),
}
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
DONE, REFUSED, NO_ANSWER = 0, 1, 3
POLL_MS = 100


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the commands, one per verb."""
    for name, (verb, what) in VERBS.items():
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
        command.set_defaults(run=run, verb=verb, version=None, from_position=None, pin=False, window="")


@dataclass
class Answer:
    """What came back so far. `live` is the newest state of the pipeline's model, up to the first that shows the request's end."""

    request: OperatorRequest
    decision: Decision | None = None
    live: LiveModel | None = None
    told: list[str] = field(default_factory=list)

    @property
    def refusal(self) -> str | None:
        """Why the fold refused, if it did."""
        command = self.decision.command if self.decision else None
        return self.live.refused.get(command.id) if command and self.live else None

    @property
    def shown(self) -> bool:
        """Whether learn shows the request's command, whose id follows from the request's: it was carried out or refused."""
        command_id = f"command-{self.request.id}"
        return self.live is not None and (command_id in self.live.applied or command_id in self.live.refused)

    @property
    def carried_out(self) -> str:
        """What the fold said that it did; where only a later message is left, that it was done."""
        change = self.live.change if self.live is not None else ""
        return change if change.endswith(f"({self.request.by})") else f"{self.request.verb} is done"

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be waited for."""
        if self.decision is None:
            return False
        return self.decision.command is None or self.shown

    @property
    def code(self) -> int:
        """The exit code that says it."""
        if not self.settled:
            return NO_ANSWER
        return REFUSED if self.decision is None or self.decision.command is None or self.refusal else DONE


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Ask, wait and print."""
    request = OperatorRequest(
        id=args.id or str(uuid.uuid4()),
        pipeline=args.pipeline,
        verb=args.verb,
        reason=args.reason,
        by=args.by or f"{getpass.getuser()}@{socket.gethostname()}",
        version=args.version,
        from_position=args.from_position,
        wall_ms=time.time_ns() // 1_000_000,
        pin=args.pin,
        window=args.window,
    )
    check_request(request)
    if request.version is not None:
        from penstock.stream.cli.model_registry import looked_up  # the store and river take seconds to import

        request = looked_up(request, settings)
    answer = Answer(request)
    more = {"enable_auto_commit": False, "allow_auto_create_topics": False}
    with client(KafkaConsumer, settings, **more) as consumer, client(KafkaProducer, settings) as producer:
        check_pipeline(consumer, args.pipeline, settings.prefix)
        decisions, models = (
            settings.prefix + name for name in (topology.CONTROL_DECISIONS, topology.CONTROL_MODELS)
        )
        read_positions(consumer, [models, decisions], from_start=True)
        key = args.pipeline.encode()
        producer.send(settings.prefix + topology.CONTROL_COMMANDS, key=key, value=encode_json(request)).get(
            settings.connect_timeout_s
        )
        if not args.json:
            print(printable(f"asked: {request.verb} {request.pipeline}, request {request.id}"), flush=True)
        if args.wait <= 0:
            if args.json:
                print(json.dumps({"request": request.id}))
            return DONE
        wait(consumer, answer, args.wait, settings.prefix, quiet=args.json)
    if args.json:
        print(json.dumps(as_json(answer)))
    elif answer.code == NO_ANSWER:
        role = "control" if answer.decision is None else "learn"
        print(
            f"no answer of the {role} role within {args.wait:g} s: is it running? The request stands.",
            file=sys.stderr,
        )
    return answer.code


def wait(consumer: KafkaConsumer, answer: Answer, wait_s: float, prefix: str, *, quiet: bool) -> None:
    """Read decisions and models until the request is settled or the time is over, telling each step once."""
    deadline_s = time.monotonic() + wait_s
    while not answer.settled and time.monotonic() < deadline_s:
        for records in consumer.poll(timeout_ms=POLL_MS).values():
            for record in records:
                take(answer, record.topic.removeprefix(prefix), record.value)
        for line in news(answer):
            if not quiet:
                print(line, flush=True)


def take(answer: Answer, topic: str, value: bytes | None) -> None:
    """Keep what concerns the request; what cannot be read is somebody else's."""
    if value is None:
        return
    try:
        if topic == topology.CONTROL_DECISIONS:
            decision = decode_decision(value)
            if decision.request == answer.request.id and decision.pipeline == answer.request.pipeline:
                answer.decision = decision
        else:
            live = decode_live_model(value)
            if live.pipeline == answer.request.pipeline and not answer.shown:
                answer.live = live
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return


def news(answer: Answer) -> list[str]:
    """Lines not told yet."""
    lines: list[str] = []
    if answer.decision is not None:
        lines.append(printable(f"decision: {answer.decision.verdict}: {answer.decision.why}"))
    if (
        answer.settled
        and answer.decision is not None
        and answer.decision.command is not None
        and answer.live is not None
    ):
        if answer.refusal:
            lines.append(printable(f"learn refused it: {answer.refusal}"))
        else:
            told = tell(answer.live, answer.request.wall_ms)
            lines += [*told, printable(f"carried out: {answer.carried_out}")]
    fresh = [line for line in lines if line not in answer.told]
    answer.told += fresh
    return fresh


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
