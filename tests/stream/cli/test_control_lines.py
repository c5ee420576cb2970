"""What operators are shown: pure text of control messages, and an answer as it comes together."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from penstock.features.read.client import Features
from penstock.stream import topology
from penstock.stream.cli.control_lines import FOLLOWED, Unreadable, decode, tell
from penstock.stream.cli.features import as_text
from penstock.stream.cli.operate import DONE, NO_ANSWER, REFUSED, Answer, as_json, check_text, news, take
from penstock.stream.cli.publish import BadLine, records
from penstock.stream.cli.watch import show
from penstock.stream.demo.event_lines import story_line
from penstock.stream.messages import CommandSent, Decision, LiveModel, OperatorRequest, encode_json
from penstock.stream.process.settings import SettingError
from tests.stream.control.test_policy import DAY, event

REQUEST = OperatorRequest(
    id="r1", pipeline="flights", verb="rollback", reason="pager 4711", by="mia", version="v3"
)
COMMAND = CommandSent(id="command-r1", verb="rollback")


def decision(**fields: Any) -> Decision:
    given = {
        "id": "d",
        "pipeline": "flights",
        "request": "r1",
        "verb": "rollback",
        "verdict": "accepted",
        "why": "asked by a person",
    }
    return Decision(**{**given, "by": "mia", "command": COMMAND, "wall_ms": 0, **fields})


def live(**fields: Any) -> LiveModel:
    return LiveModel(
        **{
            "pipeline": "flights",
            "version": "v3",
            "why": "rollback",
            "at": 0,
            "position": 0,
            "recipe": "",
            **fields,
        }
    )


def test_a_rollback_tells_what_since_when_how_badly_and_what_to_type():
    told = "\n".join(
        tell(
            event(
                "a",
                at=20 * DAY,
                statistic=812.5,
                threshold=655.0,
                effect=0.031,
                model={"champion": "v9", "anchor": "v3"},
            ),
            0,
        )
    )
    for part in (
        "!! flights: ROLLBACK wanted: the model is worse than its anchor",
        "since 20 Jan 1970 00:00:00, found 21 Jan 1970 00:00:00 (event time)",
        "812.5 against 655",
        "effect +0.031",
        "champion v9, anchor v3; would restore v3",
        "by hand: penstock rollback flights",
    ):
        assert part in told


def test_top_features_are_named_with_their_share():
    assert "hour: PSI 0.31, 62% of it" in "\n".join(
        tell(event("a", "none", top_features=[("hour", 0.31, 0.62)]), 0)
    )


def test_decisions_requests_and_models_are_told():
    assert "rollback accepted: asked by a person" in tell(decision(), 0)[0]
    assert "mia asks to rollback: pager 4711" in tell(REQUEST, 0)[0]
    held = "\n".join(tell(live(held=True, held_since=DAY, refused={"c": "there is no candidate"}), 0))
    assert "LEARNING IS HELD since 02 Jan 1970" in held and "there is no candidate" in held


def test_a_wait_for_approval_stands_out():
    assert tell(decision(verdict="waits for approval", command=None), 0)[0][21:23] == "! "


def test_an_impossible_time_does_not_stop_the_story():
    assert "ms" in "\n".join(tell(live(at=10**18), 0))


@pytest.mark.parametrize("topic", FOLLOWED)
@pytest.mark.parametrize("value", [b"", b"\xff", b"{}", b"[[[["])
def test_what_is_no_message_is_unreadable(topic, value):
    with pytest.raises(Unreadable):
        decode(topic, value)


def record(topic: str, value: bytes | None) -> Any:
    return SimpleNamespace(topic="p." + topic, partition=0, offset=7, timestamp=5, value=value)


def test_watch_shows_one_pipeline_as_text_or_as_json():
    one = record(topology.CONTROL_MODELS, encode_json(live()))
    assert "live is v3" in show(one, "flights", "p.", as_json=False)
    assert show(one, "cards", "p.", as_json=False) == ""
    shown = json.loads(show(one, None, "p.", as_json=True))
    assert (shown["topic"], shown["offset"], shown["message"]["version"]) == (
        topology.CONTROL_MODELS,
        7,
        "v3",
    )
    assert "cannot be read" in show(record(topology.CONTROL_MODELS, b"?"), None, "p.", as_json=False)
    assert show(record(topology.CONTROL_MODELS, None), None, "p.", as_json=False) == ""


def test_an_answer_is_settled_when_learn_shows_the_command():
    answer = Answer(REQUEST)
    assert answer.code == NO_ANSWER
    take(answer, topology.CONTROL_DECISIONS, encode_json(decision(request="another")))
    take(answer, topology.CONTROL_DECISIONS, b"?")
    take(answer, topology.CONTROL_DECISIONS, encode_json(decision()))
    take(answer, topology.CONTROL_MODELS, encode_json(live()))
    assert answer.code == NO_ANSWER and news(answer) == ["decision: accepted: asked by a person"]
    take(answer, topology.CONTROL_MODELS, encode_json(live(applied=["command-r1"])))
    assert answer.code == DONE and news(answer)[0] == "carried out:" and news(answer) == []
    assert as_json(answer)["settled"] is True


def test_a_refusal_of_the_policy_and_one_of_the_fold_end_with_the_same_code():
    answer = Answer(REQUEST)
    take(
        answer,
        topology.CONTROL_DECISIONS,
        encode_json(decision(verdict="refused", why="version is not known", command=None)),
    )
    assert answer.code == REFUSED
    answer = Answer(REQUEST, decision())
    take(answer, topology.CONTROL_MODELS, encode_json(live(refused={"command-r1": "no version"})))
    assert answer.code == REFUSED and "learn refused it: no version" in news(answer)


def test_lines_become_records_keyed_by_a_field():
    lines = [b'{"tail": "N1", "x": 1}\n', b"\n", b'{"tail": null}\n', b'{"x": 2}\n', b'{"tail": 7}']
    assert [key for _, key, _ in records("t", lines, ("tail",), "f")] == [b"N1", None, None, b"7"]
    assert [value for _, _, value in records("t", [b" not json \n"], (), "f")] == [b"not json"]


@pytest.mark.parametrize("line", [b"[1]", b"{", b"\xff", b"7"])
def test_a_line_that_is_no_object_is_named_by_its_number(line):
    with pytest.raises(BadLine, match="f, line 2"):
        list(records("t", [b"{}\n", line], ("tail",), "f"))


DARK = "all is well\x1b[2J\x1b]0;owned\x07\r\n\u202eevil\x9b31m\x00"


def strings_in_place(value: Any) -> Any:
    """The same message with every text that may be anything made hostile."""
    kept = {"specversion", "severity", "verdict", "verb", "suggested_action", "pipeline"}
    if isinstance(value, dict):
        return {key: item if key in kept else strings_in_place(item) for key, item in value.items()}
    if isinstance(value, list):
        return [strings_in_place(item) for item in value]
    return DARK if isinstance(value, str) else value


@pytest.mark.parametrize("action", ["retrain", "rollback", "promote", "hold", "none"])
def test_nothing_that_others_wrote_reaches_the_terminal_as_it_is(action: str) -> None:
    given: list[Any] = [
        event("a", action, model={"champion": "v9"}, top_features=[("x", 1.0, 0.5)], command="penstock x"),
        decision(),
        live(held=True, held_since=5, refused={"command-1": "no"}, candidate="v4", anchor="v1"),
        REQUEST,
    ]
    for message in given:
        hostile = msgspec.convert(strings_in_place(msgspec.to_builtins(message)), type(message))
        lines = tell(hostile, 0)
        assert (
            lines and all(line.isprintable() for line in lines) and any("\\x1b[2J" in line for line in lines)
        )
        if not isinstance(message, OperatorRequest):
            line = story_line(hostile)
            assert line is None or line.isprintable()
    record = SimpleNamespace(
        topic="control.commands", partition=0, offset=1, timestamp=0, value=b'{"id": "\x1b[2J"}'
    )
    assert show(record, None, "", as_json=False).isprintable()
    answer = Answer(REQUEST, decision=decision(why=DARK), live=live(refused={COMMAND.id: DARK}))
    assert all(line.isprintable() for line in news(answer))


def test_features_of_a_text_are_shown_as_text() -> None:
    shown = as_text(Features("card", DARK, {"was": DARK, "n": 1.0}, {"was": "present", "n": "present"}, 0, 0))
    assert all(line.isprintable() for line in shown.split("\n")) and shown.count("\n") == 2


def asked(**fields: Any) -> OperatorRequest:
    return OperatorRequest(**{**msgspec.structs.asdict(REQUEST), **fields})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id": "x" * 201}, "--id has 201 characters, the most is 200"),
        ({"by": "x" * 201}, "--by has 201"),
        ({"version": "x" * 201}, "--version has 201"),
        ({"reason": "x" * 1_001}, "--reason has 1,001 characters, the most is 1,000"),
        ({"reason": "a\udcff"}, "--reason holds bytes that are not UTF-8"),
        ({"from_position": 2**63}, "--from-position"),
    ],
)
def test_what_control_would_refuse_is_said_before_it_is_sent(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        check_text(asked(**fields))


def test_what_may_be_asked_is_what_control_can_read() -> None:
    longest = asked(
        id="é" * 200, by="é" * 200, version="é" * 200, reason="é" * 1_000, from_position=2**63 - 1
    )
    check_text(longest)
    assert decode("control.commands", encode_json(longest)) == longest
