"""What a person asks of a pipeline: the request, the record of it, the command line that makes it, and the answer to it.

Laws of this file:
- Pure. The commands and the console ask by these functions, so that what either asks for is the same record, but for who, where
  and under which id.
- A command line that is shown can be typed as it stands: whatever somebody wrote into it is quoted.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from penstock.stream import topology
from penstock.stream.log.protocol import Out
from penstock.stream.messages import (
    MAX_NAME_CHARACTERS,
    MAX_REASON_CHARACTERS,
    Decision,
    LiveModel,
    OperatorRequest,
    Verb,
    decode_decision,
    decode_live_model,
    encode_json,
)
from penstock.stream.operate.control_lines import tell
from penstock.stream.process.terminal import printable
from penstock.stream.triggers import ALL, SINCE_ONSET, WINDOWS, length_ms

VERBS: dict[Verb, str] = {
    "retrain": "train a fresh model beside the others; it then takes part, and labels give it its weight",
    "rollback": "give an earlier version all the weight, and end a hold",
    "hold": "stop learning; predictions go on",
    "resume": "learn again after a hold, and let a pinned version go",
    "promote": "give a version all the weight: the newest product of a retrain, or the one you name",
    "accept": "take today's loss, and values that a guard fires on, as the new normal",
}
"""What people may ask for, and what it does."""
DONE, REFUSED, NO_ANSWER = 0, 1, 3


class Wrong(NamedTuple):
    """What control would refuse in a request: the field, and what is said after its name."""

    field: str
    said: str


def wrong_in(request: OperatorRequest) -> Iterator[Wrong]:
    """What the control role would refuse, whatever it knows of the pipeline."""
    for name, text, most in (
        ("id", request.id, MAX_NAME_CHARACTERS),
        ("by", request.by, MAX_NAME_CHARACTERS),
        ("version", request.version or "", MAX_NAME_CHARACTERS),
        ("reason", request.reason, MAX_REASON_CHARACTERS),
    ):
        if len(text) > most:
            yield Wrong(name, f"has {len(text):,} characters, the most is {most:,}: say it shorter")
        if not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text):
            yield Wrong(name, f"holds bytes that are not UTF-8: {ascii(text[:80])}")
    start = request.from_position
    if start is not None and not -(2**63) <= start < 2**63:
        yield Wrong("from_position", f"{start} is no offset of a log")
    if request.window and start is not None:
        yield Wrong("window", "and --from-position both say where a retrain begins: give one of them")
    if request.window not in ("", ALL, SINCE_ONSET) and length_ms(request.window) is None:
        yield Wrong("window", f"{request.window!r} is none: it is {WINDOWS}")


def record_of(request: OperatorRequest, prefix: str) -> Out:
    """The record that asks for it."""
    return Out(prefix + topology.CONTROL_COMMANDS, request.pipeline.encode(), encode_json(request))


def command_line(request: OperatorRequest) -> str:
    """The command that asks for the same.

    >>> request = OperatorRequest(id="r", pipeline="flights", verb="rollback", reason="it is worse", by="ann", version="v3")
    >>> command_line(request)
    "penstock rollback flights --version v3 --reason 'it is worse'"
    """
    words = ["penstock", request.verb, request.pipeline]
    words += ["--version", request.version] if request.version is not None else []
    words += ["--from-position", str(request.from_position)] if request.from_position is not None else []
    words += ["--window", request.window] if request.window else []
    words += ["--pin"] if request.pin else []
    return shlex.join([*words, "--reason", request.reason])


OPTIONS = {"--version": "version", "--from-position": "from_position", "--window": "window"}


def asked_by(line: str) -> dict[str, Any] | None:
    """The fields of the request that a command line makes: verb, pipeline, reason and options; None of any other line.

    >>> asked_by('penstock retrain flights --from-position 5 --reason "episode e1"')
    {'verb': 'retrain', 'pipeline': 'flights', 'from_position': 5, 'reason': 'episode e1'}
    """
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    if len(words) < 3 or words[0] != "penstock" or words[1] not in VERBS:
        return None
    found: dict[str, Any] = {"verb": words[1], "pipeline": words[2]}
    rest = iter(words[3:])
    for word in rest:
        if word == "--pin":
            found["pin"] = True
            continue
        name = {**OPTIONS, "--reason": "reason"}.get(word)
        value = next(rest, None)
        if name is None or value is None:
            return None
        if name == "from_position" and not (value.isdecimal() and len(value) <= 18):
            return None
        found[name] = int(value) if name == "from_position" else value
    return found


# -- answers ---------------------------------------------------------------------------------------------------------------


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
