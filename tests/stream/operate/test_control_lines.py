"""What operators are shown: pure text of control messages, and an answer as it comes together."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from penstock.features.read.client import Features
from penstock.stream import cli, topology
from penstock.stream.cli import operate
from penstock.stream.cli.check_request import check_request
from penstock.stream.cli.features import as_text
from penstock.stream.cli.operate import as_json
from penstock.stream.cli.publish import BadLine, records
from penstock.stream.cli.watch import show
from penstock.stream.demo.event_lines import story_line
from penstock.stream.messages import (
    CommandSent,
    Decision,
    ExpertShown,
    LiveModel,
    OperatorRequest,
    encode_json,
)
from penstock.stream.operate.asking import DONE, NO_ANSWER, REFUSED, Answer, news, take
from penstock.stream.operate.control_lines import tell
from penstock.stream.operate.control_topics import FOLLOWED, Unreadable, decode
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
                model={"leader": "v3", "committed": "v9"},
            ),
            0,
        )
    )
    for part in (
        "!! flights: ROLLBACK wanted: v3 (a frozen copy) leads with 98% of the weight",
        "since 20 Jan 1970 00:00:00, found 21 Jan 1970 00:00:00 (event time)",
        "evidence 812.5 against 655",
        "effect +0.031",
        "models: leader v3, committed v9; would commit v3",
        "by hand: penstock rollback flights",
    ):
        assert part in told


def test_evidence_is_called_so_and_has_no_exponent():
    told = "\n".join(tell(event("a", statistic=350_123.4, threshold=250_000.0), 0))
    assert "evidence 350,123 against 250,000" in told


def test_what_asks_for_nothing_and_is_no_mere_note_stands_out():
    assert "flights: ALERT: v3 (a frozen copy) leads" in tell(event("a", "none"), 0)[0]
    assert "flights: note: " in tell(event("a", "none", severity="info"), 0)[0]


def test_what_is_live_is_told_with_what_just_happened():
    assert tell(live(why="kept after 2,000 labels"), 0)[0].endswith(
        "flights: live is v3: kept after 2,000 labels"
    )
    head = tell(live(why="kept after 2,000 labels", change="retrain started: storm (ann)"), 0)[0]
    assert head.endswith("flights: retrain started: storm (ann); live is v3 (kept after 2,000 labels)")


def test_top_features_are_named_with_their_share():
    assert "hour: PSI 0.31, 62% of it" in "\n".join(
        tell(event("a", "none", top_features=[("hour", 0.31, 0.62)]), 0)
    )


def test_decisions_requests_and_models_are_told():
    assert "rollback accepted: asked by a person" in tell(decision(), 0)[0]
    assert "mia asks to rollback: pager 4711" in tell(REQUEST, 0)[0]
    held = "\n".join(tell(live(held=True, held_since=DAY, refused={"c": "it is not known"}), 0))
    assert "LEARNING IS HELD since 02 Jan 1970" in held and "last refused: c: it is not known" in held


def expert(version: str, weight: float, kind: str = "new", **fields: Any) -> ExpertShown:
    return ExpertShown(version=version, weight=weight, kind=kind, **fields)


EXPERTS = [
    expert("base", 0.004, "base"), expert("v0", 0.09, "first"), expert("v2", 0.2, "frozen"), expert("v3", 0.7),
    expert("v4", 0.0099),
]  # fmt: skip


def test_the_leader_the_committed_one_and_whoever_else_counts_stand_in_one_line():
    [_, line] = tell(live(experts=EXPERTS, weight=0.7, committed="v2", at=DAY), 0)
    assert line.strip() == (
        "v3 (a fresh model) leads with 70% of the weight, v2 is committed; beside it v2 20%, v0 9%; "
        "at 02 Jan 1970 00:00:00 (event time)"
    )


def test_a_leader_that_is_committed_itself_is_named_once():
    [_, line] = tell(live(experts=EXPERTS, weight=0.7, committed="v3"), 0)
    assert "v3 (a fresh model) leads with 70% of the weight, and is committed; beside it v2 20%" in line


def test_a_version_that_predicts_alone_is_told_with_why_and_with_what_labels_say():
    alone = {"version": "v2", "committed": "v2", "weight": 0.2, "experts": EXPERTS, "alone": True}
    [_, pinned] = tell(live(**alone, pinned=True), 0)
    assert pinned.strip().startswith(
        "v2 (a frozen copy) predicts alone, pinned: `penstock resume` ends that; labels give it 20% of the weight; "
        "beside it v3 70%, v0 9%; at "
    )
    [_, approval] = tell(live(**alone), 0)
    assert "v2 (a frozen copy) predicts alone, as the definition asks for approval; labels" in approval


def test_a_message_of_a_former_version_names_no_experts_and_is_told_without():
    [_, line] = tell(live(anchor="v1", candidate="v4"), 0)
    assert line.strip() == "at 01 Jan 1970 00:00:00 (event time)"


def test_a_request_says_that_it_pins():
    lines = "\n".join(tell(msgspec.structs.replace(REQUEST, pin=True), 0))
    assert "version v3, pinned: it keeps its place whatever labels say" in lines
    assert "pinned" not in "\n".join(tell(REQUEST, 0))


def test_a_promotion_names_what_it_would_commit():
    asks = event("a", "promote", model={"leader": "v3", "committed": "v9"}, severity="warning")
    told = "\n".join(tell(asks, 0))
    assert "flights: promotion wanted: v3" in told and "; would commit v3" in told


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
    did = "rolled back: v3 has all the weight: pager 4711 (mia)"
    take(answer, topology.CONTROL_MODELS, encode_json(live(applied=["command-r1"], change=did)))
    lines = news(answer)
    assert answer.code == DONE and lines[-1] == f"carried out: {did}" and "live is v3" in lines[0]
    assert news(answer) == [] and as_json(answer)["settled"] is True


def test_what_happened_after_the_command_does_not_take_the_place_of_what_it_did():
    answer = Answer(REQUEST)
    did = "rolled back: v3 has all the weight: pager 4711 (mia)"
    for change, version in ((did, "v3"), ("v9 (a fresh model) takes the lead", "v9")):
        later = live(applied=["command-r1"], change=change, version=version)
        take(answer, topology.CONTROL_MODELS, encode_json(later))
    take(answer, topology.CONTROL_DECISIONS, encode_json(decision()))
    assert news(answer)[-1] == f"carried out: {did}"
    answer = Answer(REQUEST, decision())
    take(answer, topology.CONTROL_MODELS, encode_json(later))
    assert news(answer)[-1] == "carried out: rollback is done", "the command's own message is gone: compacted"


def asked_for(monkeypatch: pytest.MonkeyPatch, *words: str) -> OperatorRequest:
    """The request that a command line makes."""
    found: list[OperatorRequest] = []

    def note(request: OperatorRequest) -> None:
        found.append(request)
        raise SettingError("far enough")

    monkeypatch.setattr(operate, "check_request", note)
    assert cli.main([*words, "--reason", "pager 4711"]) == 2
    return found[0]


@pytest.mark.parametrize("verb", ["rollback", "promote"])
def test_a_pin_is_asked_for_by_an_option(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked_for(monkeypatch, verb, "flights", "--version", "v3", "--pin")
    assert (request.verb, request.version, request.pin) == (verb, "v3", True)
    assert asked_for(monkeypatch, verb, "flights").pin is False


@pytest.mark.parametrize("verb", ["rollback", "promote"])
def test_the_help_says_what_happens_now(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([verb, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for part in (
        "gets all the weight",
        "take the weight away again",
        "With --pin it predicts alone",
        "penstock resume",
    ):
        assert part in told
    assert "asks for approval, the committed version always predicts alone" in told


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
    assert [value for _, _, value in records("t", [b' {"x": 2} \n'], (), "f")] == [b'{"x": 2}']


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
        event("a", action, model={"leader": "v9"}, top_features=[("x", 1.0, 0.5)], command="penstock x"),
        decision(),
        live(
            held=True,
            held_since=5,
            refused={"command-1": "no"},
            experts=EXPERTS,
            committed="v2",
            pinned=True,
            alone=True,
        ),
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
        check_request(asked(**fields))


def test_what_may_be_asked_is_what_control_can_read() -> None:
    longest = asked(
        id="é" * 200, by="é" * 200, version="é" * 200, reason="é" * 1_000, from_position=2**63 - 1
    )
    check_request(longest)
    assert decode("control.commands", encode_json(longest)) == longest
