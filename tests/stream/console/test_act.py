"""Acts: each makes the record that its command makes, once, for those who may; and what becomes of it is shown."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from penstock.stream import cli, topology
from penstock.stream.cli import operate
from penstock.stream.console.act.acts import ACTS
from penstock.stream.console.act.asked import request_of
from penstock.stream.console.act.preview import preview, target
from penstock.stream.console.page import Person
from penstock.stream.console.state import States
from penstock.stream.console.who.people import People
from penstock.stream.control.state import PolicyState
from penstock.stream.learn import commands
from penstock.stream.messages import Command, Decision, LiveModel, OperatorRequest, encode_json
from penstock.stream.operate.asking import VERBS, asked_by, command_line, record_of
from penstock.stream.operate.attended import Attended
from penstock.stream.process.settings import SettingError
from tests.stream.console.acting import OURS, Desk, behind_a_proxy, filled, hidden, password_file
from tests.stream.control.test_policy import event
from tests.stream.generated import entries, parcels

ACT = "/pipelines/parcels/act"
REASON = {"reason": "pager 4711"}


@pytest.fixture
def desk(states: States, tmp_path: Path) -> Desk:
    return Desk(states, People(password_file(tmp_path), anonymous=True))


def words(page: str) -> str:
    """The text of a page."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


def commands_on(page: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r'<code class="command">([^<]*)</code>', page)]


def typed(line: str, monkeypatch: pytest.MonkeyPatch) -> OperatorRequest:
    """The request that a command line makes."""
    found: list[OperatorRequest] = []

    def note(request: OperatorRequest) -> None:
        found.append(request)
        raise SettingError("far enough")

    monkeypatch.setattr(operate, "check_request", note)
    program, *rest = shlex.split(line)
    assert program == "penstock" and cli.main(rest) == 2
    return found[0]


def wait_for(states: States, *verbs: str) -> None:
    """Have requests wait for a person, as control's state says."""
    state = states.pipelines["parcels"]
    assert state.status is not None
    state.status.policy = PolicyState("parcels", waiting={f"e1-{verb}": verb for verb in verbs})


def told(states: States, message: Any, topic: str) -> None:
    """A record more on a control topic."""
    states.step(topic, states.positions.get(topic, 0), 99, encode_json(message))


ASKED = [
    ("hold", {}),
    ("resume", {}),
    ("accept", {}),
    ("retrain", {}),
    ("retrain", {"window": "30d"}),
    ("retrain", {"from_position": "@1,200"}),
    ("rollback", {}),
    ("rollback", {"version": "previous"}),
    ("rollback", {"version": "v1", "pin": "yes"}),
    ("rollback", {"from_position": "900"}),
    ("rollback", {"other": "before-strike; rm -rf /"}),
    ("promote", {"version": "v1"}),
    ("pin", {"version": "champion"}),
    ("pin", {"version": "v1", "other": "v2"}),
]


@pytest.mark.parametrize(("act", "fields"), ASKED)
@pytest.mark.parametrize("reason", ["pager 4711", 'it\'s "worse"; $(reboot) `x` & <b>é</b>\nsecond line'])
def test_every_act_is_the_record_that_the_shown_command_makes_but_for_who_and_where(
    desk: Desk, states: States, monkeypatch: pytest.MonkeyPatch, act: str, fields: dict[str, str], reason: str
) -> None:
    live = states.pipelines["parcels"].live
    assert live is not None
    states.pipelines["parcels"].live = msgspec.structs.replace(live, held=act == "resume")
    browser = desk.of("omar")
    confirmation = filled(browser, act, {"reason": reason, **fields})
    preview_page = browser.get(f"{ACT}/{act}", params=confirmation).text
    [line] = commands_on(preview_page)
    answer = browser.post(f"{ACT}/{act}", data=confirmation)
    assert answer.status_code == 303 and len(desk.sent) == 1
    [request] = desk.sent
    command = typed(line, monkeypatch)
    same = {"id": "", "by": "", "source": "", "wall_ms": 0}
    assert msgspec.structs.replace(request, **same) == msgspec.structs.replace(command, **same)
    assert (request.by, request.source, command.source) == (
        "omar",
        "console",
        "cli",
    ) and request.wall_ms == 77
    there, here = record_of(request, "p."), record_of(command, "p.")
    assert there[:2] == here[:2] == ("p.control.commands", b"parcels") and there[3:] == here[3:]
    assert answer.headers["location"] == f"/pipelines/parcels/asked/{request.id}"


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("who", ["", "vera", "omar", "ada"])
def test_who_may_not_is_refused_and_sees_the_command_and_who_may(
    desk: Desk, states: States, act: str, who: str
) -> None:
    live = states.pipelines["parcels"].live
    assert live is not None
    states.pipelines["parcels"].live = msgspec.structs.replace(live, held=act == "resume")
    wait_for(states, *(["rollback"] if act == "approve" else []))
    browser = desk.of(who) if who else desk.browser(headers=OURS)
    may = who == "ada" or (who == "omar" and act != "approve")
    fields = {"reason": "x", "waits": "e1-rollback", "version": "v1"}
    confirmation = filled(browser, act, fields)
    page = browser.get(f"{ACT}/{act}", params=confirmation).text
    assert ("Yes, " in page) is may and commands_on(page)
    assert ("takes an" in words(page)) is not may
    answer = browser.post(f"{ACT}/{act}", data=confirmation)
    assert answer.status_code == (303 if may else 403) and len(desk.sent) == may
    if not may:
        assert "may not ask for this: it takes an" in words(answer.text)
    index = words(browser.get(ACT).text)
    assert (f"You are {who}, " in index) is bool(who) and "penstock hold parcels --reason …" in index


def test_what_waits_for_approval_is_the_approvers_under_whatever_name(desk: Desk, states: States) -> None:
    wait_for(states, "retrain")
    omar, ada = desk.of("omar"), desk.of("ada")
    assert omar.post(f"{ACT}/retrain", data=filled(omar, "retrain", REASON)).status_code == 403
    assert omar.post(f"{ACT}/rollback", data=filled(omar, "rollback", REASON)).status_code == 303
    assert ada.post(f"{ACT}/retrain", data=filled(ada, "retrain", REASON)).status_code == 303
    assert [request.verb for request in desk.sent] == ["rollback", "retrain"]


def test_an_approval_asks_for_what_the_finding_asked_for(
    desk: Desk, states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposed = 'penstock rollback parcels --version v3 --from-position 70 --reason "episode e1"'
    finding = event("e1-rollback", command=proposed)
    finding = msgspec.structs.replace(finding, data=msgspec.structs.replace(finding.data, pipeline="parcels"))
    told(states, finding, topology.CONTROL_ROLLBACK)
    wait_for(states, "rollback")
    ada = desk.of("ada")
    page = ada.get(ACT).text
    assert "v3 (a frozen copy) leads with 98% of the weight" in words(page)
    assert "penstock rollback parcels --version v3 --from-position 70 --reason …" in commands_on(page)
    confirmation = filled(ada, "approve", {**REASON, "waits": "e1-rollback"})
    first = ada.post(f"{ACT}/approve", data=confirmation)
    [request] = desk.sent
    expected = typed(proposed.replace("episode e1", "pager 4711"), monkeypatch)
    assert (request.verb, request.version, request.from_position, request.reason) == (
        expected.verb, expected.version, expected.from_position, "pager 4711",
    )  # fmt: skip
    wait_for(states)
    assert "Nothing waits for approval" in words(ada.get(ACT).text)
    again = ada.post(f"{ACT}/approve", data=confirmation)
    assert again.headers["location"] == first.headers["location"] and len(desk.sent) == 1
    late = ada.post(f"{ACT}/approve", data={**confirmation, "once": "1" * 32})
    assert late.status_code == 400 and "waits no more" in words(late.text) and len(desk.sent) == 1


@pytest.mark.parametrize(
    "line",
    [
        "penstock rollback another --version v3",
        "penstock retrain parcels",
        "rm -rf /",
        "penstock rollback parcels --version",
        "penstock rollback parcels 'open",
        "penstock rollback parcels --by root --reason x",
        "",
    ],
)
def test_a_command_line_of_somebody_else_is_not_what_is_approved(
    desk: Desk, states: States, line: str
) -> None:
    finding = event("e1-rollback", command=line)
    told(
        states,
        msgspec.structs.replace(finding, data=msgspec.structs.replace(finding.data, pipeline="parcels")),
        topology.CONTROL_ROLLBACK,
    )
    wait_for(states, "rollback")
    ada = desk.of("ada")
    ada.post(f"{ACT}/approve", data=filled(ada, "approve", {**REASON, "waits": "e1-rollback"}))
    [request] = desk.sent
    assert (request.pipeline, request.verb, request.version, request.by) == (
        "parcels",
        "rollback",
        None,
        "ada",
    )


def test_a_command_line_is_read_as_it_is_written() -> None:
    for act, fields in ASKED:
        form = {**REASON, **fields, "once": "0" * 32}
        made = request_of(ACTS[act], form, States(["p"]).pipelines["p"], Person("mia", "operator"), 5).request
        assert made is not None
        read = asked_by(command_line(made))
        assert read is not None
        again = OperatorRequest(id=made.id, by="mia", source="console", wall_ms=5, **read)
        assert again == made


# -- once ----------------------------------------------------------------------------------------------------------------


def test_the_same_confirmation_is_one_request_however_often_it_is_sent(desk: Desk, states: States) -> None:
    browser = desk.of("omar")
    confirmation = filled(browser, "hold", REASON)
    answers = [browser.post(f"{ACT}/hold", data=confirmation) for _ in range(3)]
    assert {answer.headers["location"] for answer in answers} == {answers[0].headers["location"]}
    assert len(desk.sent) == 1
    live = states.pipelines["parcels"].live
    assert live is not None
    states.pipelines["parcels"].live = msgspec.structs.replace(live, held=True)
    assert browser.post(f"{ACT}/hold", data=confirmation).status_code == 303, (
        "it is held by this very request"
    )
    assert len(desk.sent) == 1
    other = browser.post(f"{ACT}/hold", data={**confirmation, "once": "1" * 32})
    assert other.status_code == 409 and "is held already" in words(other.text)


def test_after_a_restart_what_the_topic_has_is_not_sent_again(states: States, tmp_path: Path) -> None:
    people = People(password_file(tmp_path), secret="kept")
    first, second = Desk(states, people), Desk(states, people)
    browser = first.of("omar")
    confirmation = filled(browser, "accept", REASON)
    browser.post(f"{ACT}/accept", data=confirmation)
    told(states, first.sent[0], topology.CONTROL_COMMANDS)
    answer = second.of("omar").post(f"{ACT}/accept", data=confirmation)
    assert answer.headers["location"].endswith(first.sent[0].id) and second.sent == []


def test_lines_of_a_reason_end_as_they_are_typed(desk: Desk) -> None:
    browser = desk.of("omar")
    for reason in ("one\r\ntwo", "one\ntwo"):
        browser.post(f"{ACT}/hold", data={"once": "0" * 32, "reason": reason})
    assert [request.reason for request in desk.sent] == ["one\ntwo"]


def test_another_choice_or_person_or_form_is_another_request(desk: Desk) -> None:
    omar, ada = desk.of("omar"), desk.of("ada")
    confirmation = filled(omar, "rollback", {**REASON, "version": "v1"})
    for browser, more in (
        (omar, {}),
        (omar, {"version": "v2"}),
        (omar, {"reason": "x"}),
        (ada, {}),
        (omar, {"once": "2" * 32}),
    ):
        assert browser.post(f"{ACT}/rollback", data={**confirmation, **more}).status_code == 303
    assert len({request.id for request in desk.sent}) == 5 == len(desk.sent)
    assert all(len(request.id) <= 200 for request in desk.sent)


# -- forms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "fields", "says"),
    [
        ("hold", {"reason": "  "}, "Say why: the reason is kept with the decision and the model."),
        (
            "hold",
            {"reason": "x" * 1_001},
            "The reason has 1,001 characters, the most is 1,000: say it shorter.",
        ),
        ("pin", {"reason": "x"}, "Choose the version that is to be pinned."),
        ("rollback", {"reason": "x", "other": "v" * 201}, "The version has 201 characters"),
        ("rollback", {"reason": "x", "from_position": "soon"}, "The position must be a whole number"),
        ("rollback", {"reason": "x", "from_position": "-5"}, "The position must be a whole number"),
        ("retrain", {"reason": "x", "from_position": "9" * 19}, "is no offset of a log"),
        ("retrain", {"reason": "x", "window": "month"}, "The window 'month' is none"),
        ("retrain", {"reason": "x", "window": "30d", "from_position": "5"}, "give one of them"),
        ("approve", {"reason": "x", "waits": "e9"}, "Choose what you approve."),
        ("hold", {"reason": "x", "once": "short"}, "This form is not complete."),
    ],
)
def test_what_is_wrong_with_a_form_is_said_beside_what_was_filled_in(
    desk: Desk, states: States, act: str, fields: dict[str, str], says: str
) -> None:
    wait_for(states, *(["rollback"] if act == "approve" else []))
    browser = desk.of("ada")
    given = {"once": "0" * 32, **fields}
    page = browser.get(f"{ACT}/{act}", params=given)
    assert page.status_code == 200 and says in words(page.text) and 'role="alert"' in page.text
    assert "<title>Mistakes: " in page.text and "Yes, " not in page.text
    if len(fields["reason"]) < 9:
        assert f">{fields['reason']}</textarea>" in page.text
    refused = browser.post(f"{ACT}/{act}", data=given)
    assert refused.status_code == 400 and says in words(refused.text) and not desk.sent


def test_what_cannot_be_done_now_is_said_and_not_asked_for(desk: Desk, states: States) -> None:
    browser = desk.of("ada")
    for act, says in (
        ("resume", "Learning of parcels is not held, and no version is pinned: there is nothing to resume."),
        ("approve", "Nothing of parcels waits for approval."),
    ):
        assert says in words(browser.get(f"{ACT}/{act}").text) and says in words(browser.get(ACT).text)
        confirmation = {"once": "0" * 32, **REASON}
        assert "Yes, " not in browser.get(f"{ACT}/{act}", params=confirmation).text
        answer = browser.post(f"{ACT}/{act}", data=confirmation)
        assert answer.status_code in (400, 409) and not desk.sent


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"content": b"reason=x", "headers": {"Content-Type": "application/json"}}, 415),
        (
            {
                "content": b"reason=" + b"x" * 20_000,
                "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            },
            413,
        ),
        (
            {"content": b"reason=%ff%fe", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
            400,
        ),
        ({"data": {f"f{number}": "x" for number in range(40)}}, 400),
        ({"files": {"reason": b"x"}}, 415),
        ({}, 415),
    ],
)
def test_what_is_no_form_is_refused(desk: Desk, more: dict[str, Any], status: int) -> None:
    assert desk.of("omar").post(f"{ACT}/hold", **more).status_code == status and not desk.sent


def test_pages_that_take_no_posts_and_consoles_that_only_look_take_none(
    states: States, tmp_path: Path
) -> None:
    desk = Desk(states, People(password_file(tmp_path)), asks=False)
    browser = desk.of("ada")
    assert browser.post(ACT).status_code == browser.post("/pipelines/parcels").status_code == 405
    page = browser.get(f"{ACT}/hold", params={"once": "0" * 32, **REASON}).text
    assert "started only to look" in words(page) and "Yes, " not in page
    assert browser.post(f"{ACT}/hold", data={"once": "0" * 32, **REASON}).status_code == 405
    assert browser.get(f"{ACT}/explode").status_code == 404
    assert browser.post("/pipelines/none/act/hold", data={"once": "0" * 32, **REASON}).status_code == 405


def test_somebody_behind_a_proxy_acts_under_his_name(states: States) -> None:
    desk = Desk(states, behind_a_proxy())
    headers = {"X-Forwarded-User": "mia@example.org", "X-Forwarded-Groups": "sre"}
    browser = TestClient(desk.console, headers=headers, client=("10.0.0.7", 5), follow_redirects=False)
    confirmation = filled(browser, "hold", REASON)
    assert (
        browser.post(f"{ACT}/hold", data=confirmation, headers={"Origin": "https://evil.example"}).status_code
        == 403
    )
    assert browser.post(f"{ACT}/hold", data=confirmation).status_code == 303
    assert [request.by for request in desk.sent] == ["mia@example.org"]


HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"


def test_what_others_wrote_is_text_on_every_page(desk: Desk, states: States) -> None:
    state = states.pipelines["parcels"]
    assert state.live is not None
    expert = msgspec.structs.replace(state.live.experts[-1], version=HOSTILE, kind="frozen")
    state.live = msgspec.structs.replace(
        state.live, experts=[*state.live.experts, expert], previous=HOSTILE, retraining=[HOSTILE]
    )
    finding = event("e1-rollback", command=HOSTILE)
    data = msgspec.structs.replace(finding.data, pipeline="parcels", reason=HOSTILE)
    told(states, msgspec.structs.replace(finding, data=data), topology.CONTROL_ROLLBACK)
    assert state.status is not None
    state.status.policy = PolicyState("parcels", waiting={"e1-rollback": "rollback", HOSTILE: HOSTILE})
    request = OperatorRequest(
        id="r", pipeline="parcels", verb="hold", reason=HOSTILE, by=HOSTILE, source=HOSTILE
    )
    told(states, request, topology.CONTROL_COMMANDS)
    browser = desk.of("ada")
    fields = {"reason": HOSTILE, "version": HOSTILE, "once": "0" * 32, "waits": "e1-rollback"}
    addresses: list[tuple[str, dict[str, str]]] = [
        (ACT, {}),
        ("/pipelines/parcels/asked/r", {}),
        ("/login", {"next": "/" + HOSTILE}),
    ]
    addresses += [(f"{ACT}/{act}", more) for act in ACTS for more in ({}, fields, {**fields, "reason": ""})]
    for address, query in addresses:
        page = browser.get(address, params=query)
        assert page.status_code == 200, (address, page.text)
        assert (
            "<script>alert" not in page.text
            and "<img" not in page.text
            and "49" not in page.text.split(HOSTILE)[0][:0]
        )
    for address in (f"{ACT}/{HOSTILE}", f"/pipelines/{HOSTILE}/act", f"/pipelines/parcels/asked/{HOSTILE}"):
        page = browser.get(address.replace("/script", "%2Fscript").replace("?", "%3F"))
        assert "<script>alert" not in page.text and "<img" not in page.text


# -- what it would do ------------------------------------------------------------------------------------------------------


def test_the_version_meant_is_the_one_that_the_fold_takes() -> None:
    """Each choice, at each of several places of a course with frozen and retrained models."""
    attended = Attended(parcels())
    compared = 0
    for number, entry in enumerate(entries(9_000, invert=range(6_000, 9_000))):
        attended.step(entry)
        if number % 3_000:
            continue
        fold = attended.fold
        live = fold.live_model()
        versions = [None, "champion", "previous", "nobody", *(one.version for one in live.experts)]
        for verb in ("rollback", "promote"):
            for version in versions:
                for position in (None, 0, live.position // 2):
                    command = Command("c", verb, "x", "mia", version, position)
                    expected = commands.target(fold, commands.meant(fold, command))
                    request = OperatorRequest(
                        id="r",
                        pipeline="parcels",
                        verb=verb,
                        reason="x",
                        by="mia",
                        version=version,
                        from_position=position,
                    )
                    found = target(live, request)
                    assert (found.version if found else None) == (expected.version if expected else None)
                    compared += found is not None
    assert compared > 20


def test_a_preview_says_which_version_how_far_trained_and_its_loss_on_the_same_labels(states: States) -> None:
    state = states.pipelines["parcels"]
    live = state.live
    assert live is not None
    frozen = next(one for one in reversed(live.experts) if one.kind == "frozen")
    request = OperatorRequest(
        id="r", pipeline="parcels", verb="rollback", reason="x", by="mia", version=frozen.version
    )
    found = preview(request, state, parcels())
    assert found.meant.startswith(f"{frozen.version}: ") and "trained to" in found.meant
    blocks = list(state.blocks)[-19:]
    names = {one.version for one in found.compared}
    assert {frozen.version, "base"} <= names
    same = [
        {one.version: one for one in block.experts}
        for block in blocks
        if names <= {one.version for one in block.experts if one.loss is not None}
    ]
    for one in found.compared:
        losses = [(block[one.version].loss or 0.0, block[one.version].judged) for block in same]
        judged = sum(count for _, count in losses)
        assert one.loss == (f"{sum(loss * count for loss, count in losses) / judged:.4f}" if judged else "–")
    own = next(one.mean for one in found.compared if one.meant)
    lost_less = {one.version for one in found.compared if None not in (one.mean, own) and one.mean < own}  # type: ignore[operator]
    warned = [line for line in found.does if line.startswith("Careful: over these labels")]
    assert (
        lost_less
        and len(warned) == 1
        and all(("the base rate" if version == "base" else version) in warned[0] for version in lost_less)
    )
    assert any(
        "only labels after that" in line and f"@{state.position:,}" in line for line in found.suppresses
    )
    pinned = preview(msgspec.structs.replace(request, pin=True), state, parcels())
    assert any("until a resume" in line for line in pinned.suppresses)
    state.live = msgspec.structs.replace(live, held=True, held_since=5)
    for verb in VERBS:
        lines = preview(
            OperatorRequest(id="r", pipeline="parcels", verb=verb, reason="", by=""), state, parcels()
        )
        assert lines.does and lines.suppresses, verb


def test_a_preview_of_a_retrain_says_until_when_evidence_waits_and_that_this_ends_it(states: States) -> None:
    state = states.pipelines["parcels"]
    assert state.status is not None
    state.status.policy = PolicyState("parcels", unattended=[("retrain", state.event_at - 1_000)])
    request = OperatorRequest(id="r", pipeline="parcels", verb="retrain", reason="x", by="mia")
    lines = " ".join(preview(request, state, parcels()).suppresses)
    assert "A retrain that evidence asks for waits until" in lines and "this ends it" in lines
    state.status.policy = PolicyState("parcels")
    assert "No cooldown runs" in " ".join(preview(request, state, parcels()).suppresses)


def test_pages_are_shown_before_learn_said_anything(tmp_path: Path) -> None:
    desk = Desk(States(["parcels"]), People(password_file(tmp_path)))
    browser = desk.of("ada")
    for act in ACTS:
        for query in ({}, {**REASON, "once": "0" * 32, "version": "v1"}):
            assert browser.get(f"{ACT}/{act}", params=query).status_code == 200
    assert browser.get(ACT).status_code == 200
    assert browser.post(f"{ACT}/rollback", data={**REASON, "once": "0" * 32}).status_code == 303


# -- what becomes of it ----------------------------------------------------------------------------------------------------


def decided(request: OperatorRequest, verdict: Any = "accepted", why: str = "asked by a person") -> Decision:
    from penstock.stream.messages import CommandSent

    command = CommandSent(id=f"command-{request.id}", verb=request.verb) if verdict == "accepted" else None
    return Decision(
        id=f"decision-{request.id}", pipeline="parcels", request=request.id, verb=request.verb, verdict=verdict,
        why=why, by=request.by, command=command, wall_ms=80,
    )  # fmt: skip


def test_the_page_after_an_act_says_each_step_as_it_comes(desk: Desk, states: States) -> None:
    browser = desk.of("omar")
    page = browser.post(f"{ACT}/accept", data=filled(browser, "accept", REASON)).headers["location"]
    [request] = desk.sent
    live = states.pipelines["parcels"].live
    assert live is not None
    done = msgspec.structs.replace(
        live, applied=[f"command-{request.id}"], change=f"accepted as normal: {request.reason} ({request.by})"
    )

    def said() -> str:
        answer = browser.get(page)
        assert answer.status_code == 200 and request.id in answer.text and 'id="live_course"' in answer.text
        return words(answer.text)

    assert "not in the topic yet" in said()
    told(states, request, topology.CONTROL_COMMANDS)
    assert "not decided on it yet" in said() and "omar asked to accept" in said() and "pager 4711" in said()
    assert "penstock accept parcels --reason 'pager 4711'" in said()
    told(states, decided(request), topology.CONTROL_DECISIONS)
    assert "Accepted: asked by a person. Learn has not shown it as carried out yet." in said()
    told(states, done, topology.CONTROL_MODELS)
    assert f"Carried out: accepted as normal: pager 4711 ({request.by})." in said()


@pytest.mark.parametrize("by", ["control", "learn"])
def test_a_refusal_is_said_by_who_refused(desk: Desk, states: States, by: str) -> None:
    request = OperatorRequest(
        id="r9", pipeline="parcels", verb="rollback", reason="x", by="mia", version="v99"
    )
    told(states, request, topology.CONTROL_COMMANDS)
    live = states.pipelines["parcels"].live
    assert isinstance(live, LiveModel)
    if by == "control":
        told(states, decided(request, "refused", "version 'v99' is not known"), topology.CONTROL_DECISIONS)
    else:
        told(states, decided(request), topology.CONTROL_DECISIONS)
        refused = {"command-r9": "version 'v99' is not known"}
        told(states, msgspec.structs.replace(live, refused=refused), topology.CONTROL_MODELS)
    page = words(desk.browser().get("/pipelines/parcels/asked/r9").text)
    who = {"control": "The control role", "learn": "Learn"}[by]
    assert f"{who} refused it: version 'v99' is not known." in page


def test_a_request_that_cannot_be_sent_is_said_and_can_be_confirmed_again(
    states: States, tmp_path: Path
) -> None:
    from penstock.stream.console.posts import CannotAsk

    desk = Desk(states, People(password_file(tmp_path)))
    browser = desk.of("omar")
    confirmation = filled(browser, "hold", REASON)

    def down(request: OperatorRequest) -> None:
        raise CannotAsk("Kafka at nowhere did not confirm the request.")

    desk.console.posts.ask = down
    answer = browser.post(f"{ACT}/hold", data=confirmation)
    assert answer.status_code == 503 and "did not confirm" in words(answer.text)
    desk.console.posts.ask = desk.sent.append
    assert browser.post(f"{ACT}/hold", data=confirmation).status_code == 303 and len(desk.sent) == 1


def test_the_address_of_a_preview_holds_what_was_chosen_and_leads_back_with_it(desk: Desk) -> None:
    browser = desk.of("omar")
    confirmation = filled(browser, "rollback", {**REASON, "version": "previous", "pin": "yes"})
    assert hidden(browser.get(f"{ACT}/rollback", params=confirmation).text)["pin"] == "yes"
    page = browser.get(f"{ACT}/rollback", params=confirmation).text
    back = html.unescape(re.findall(r'<a href="(\?[^"]*)">Change it', page)[0])
    form = browser.get(f"{ACT}/rollback{back}").text
    assert ">pager 4711</textarea>" in form and 'value="yes" checked' in form
    assert hidden(form)["once"] != confirmation["once"], "a changed form is a new one"
