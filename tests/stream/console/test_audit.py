"""The audit: who asked for what, what was decided and why, what became of it, and what it holds back until when."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from penstock.stream.console.audit import RULE, chosen, entries, in_words, suppresses
from penstock.stream.console.page import NotFound
from penstock.stream.console.state import PipelineState, States
from penstock.stream.control.state import PolicyConfig
from penstock.stream.messages import (
    CommandSent,
    ControlData,
    ControlEvent,
    Decision,
    LiveModel,
    OperatorRequest,
    encode_json,
)
from penstock.stream.operate.control_lines import tell
from tests.stream.console.test_pages import Outline, text_of
from tests.stream.console.year import console_of
from tests.stream.generated import parcels

NAME, DAY_MS = "parcels", 86_400_000
PATH = f"/pipelines/{NAME}/audit"


class Told:
    """A state that is told things one after the other, a second apart."""

    def __init__(self) -> None:
        self.states = States([NAME])
        self.states.caught_up = True
        self.wall_ms = 1_700_000_000_000

    @property
    def state(self) -> PipelineState:
        return self.states.pipelines[NAME]

    def say(self, topic: str, message: Any) -> None:
        self.wall_ms += 1_000
        offset = self.states.positions.get(topic, 0)
        self.states.step(topic, offset, self.wall_ms, encode_json(message))

    def event(self, name: str, verb: str, at: int, **data: Any) -> ControlEvent:
        given = ControlData(
            pipeline=NAME, episode="e1", kind="harm", state="firing", severity="critical", reason=f"why {name}",
            detector={"params": {"scale": 0.1, "block_labels": 250}}, since={"at": at - 5, "position": 3},
            detected_at={"at": at, "position": 7}, suggested_action=verb, effect=0.2, statistic=30.0, threshold=20.0,
            losses={"live": 0.4, "base_rate": 0.7}, command=f"penstock {verb} {NAME} --reason x", causes=["a broken field"],
        )  # fmt: skip
        made = ControlEvent(
            id=name, source="s", type=f"penstock.{verb}", subject="loss", time="", data=msgspec.structs.replace(given, **data)
        )  # fmt: skip
        self.say("control.retrain" if verb == "retrain" else "control.alerts", made)
        return made

    def request(self, name: str, verb: Any, **more: Any) -> OperatorRequest:
        made = OperatorRequest(id=name, pipeline=NAME, verb=verb, reason=f"because {name}", by="ann", **more)
        self.say("control.commands", made)
        return made

    def decision(
        self, request: str, verb: str, verdict: Any, *, by: str = "policy", **command: Any
    ) -> Decision:
        sent = None
        if verdict == "accepted":
            sent = CommandSent(id=f"command-{request}", verb=verb, by=by, **command)  # type: ignore[arg-type]
        made = Decision(
            id=f"decision-{request}", pipeline=NAME, request=request, verb=verb, verdict=verdict, why=f"rule {request}",
            by=by, command=sent, wall_ms=1,
        )  # fmt: skip
        self.say("control.decisions", made)
        return made

    def live(self, position: int, applied: list[str], refused: dict[str, str] | None = None) -> None:
        self.say(
            "control.models",
            LiveModel(
                pipeline=NAME, version="v1", why="w", at=position * 1_000, position=position, recipe="", applied=applied,
                refused=refused or {}, committed="v1",
            ),
        )  # fmt: skip


@pytest.fixture
def told() -> Told:
    """One of each outcome, in this order."""
    found = Told()
    found.live(1, [])
    found.event("r1", "retrain", 10 * DAY_MS)
    found.decision("r1", "retrain", "accepted", episode="e1")
    found.live(20, ["command-r1"])
    found.event("r2", "retrain", 10 * DAY_MS + 60_000)
    found.decision("r2", "retrain", "refused")
    found.event("p1", "promote", 11 * DAY_MS, target_version="v7.abc")
    found.decision("p1", "promote", "waits for approval")
    found.request("o1", "rollback", version="v0", pin=True)
    found.decision("o1", "rollback", "accepted", by="ann", version="v0", pin=True)
    found.request("o2", "promote", version="v9")
    found.decision("o2", "promote", "accepted", by="ann", version="v9")
    found.live(40, ["command-r1", "command-o1"], {"command-o2": "it is gone"})
    found.request("o3", "resume")
    found.event("h1", "hold", 12 * DAY_MS, episode="e2")
    found.event("n1", "none", 12 * DAY_MS, episode="e2")
    found.decision("lost", "retrain", "accepted", by="ben")
    found.event("over", "none", 12 * DAY_MS, state="resolved", cooldown_until=13 * DAY_MS)
    return found


def test_everything_that_was_asked_for_is_there_once_newest_first_with_its_outcome(told: Told) -> None:
    found = entries(told.state)
    assert [(one.id, one.verb, one.who, one.outcome) for one in found] == [
        ("lost", "retrain", "ben", "accepted"),
        ("h1", "hold", RULE, "taken"),
        ("o3", "resume", "ann", "no decision yet"),
        ("o2", "promote", "ann", "refused"),
        ("o1", "rollback", "ann", "carried out"),
        ("p1", "promote", RULE, "waits for approval"),
        ("r2", "retrain", RULE, "refused"),
        ("r1", "retrain", RULE, "carried out"),
    ]
    by = {one.id: one for one in found}
    assert by["o2"].why == "rule o2; learn refused it: it is gone"
    assert (by["p1"].version, by["o1"].version, by["p1"].reason, by["o1"].reason) == (
        "v7.abc",
        "v0",
        "why p1",
        "because o1",
    )
    assert (by["r1"].episode, by["h1"].episode, by["lost"].episode) == ("e1", "e2", "")
    assert in_words(by["r1"]).startswith("carried out at") and "position 20" in in_words(by["r1"])
    assert in_words(by["o2"]).startswith("refused at") and in_words(by["p1"]) == ""


def test_an_entry_is_found_by_the_id_of_its_request_its_decision_or_its_command(told: Told) -> None:
    for name in ("r1", "decision-r1", "command-r1"):
        assert chosen(told.state, name).id == "r1"
    with pytest.raises(NotFound, match="no request or decision 'n1' of 'parcels' is kept here"):
        chosen(told.state, "n1")


def test_what_is_held_back_says_until_when(told: Told) -> None:
    config = PolicyConfig.of(parcels())
    by = {one.id: one for one in entries(told.state)}
    cooling, again = suppresses(by["r1"], told.state, config)
    assert cooling.until == 10 * DAY_MS + config.cooldown_ms and cooling.what.startswith("another retrain")
    assert (again.until, again.ends) == (13 * DAY_MS, "until")
    assert [one.until for one in suppresses(by["r2"], told.state, config)] == [13 * DAY_MS], (
        "what was refused holds nothing"
    )
    assert [one.ends for one in suppresses(by["h1"], told.state, config)] == [
        "until it is resumed or rolled back"
    ]
    assert [one.ends for one in suppresses(by["o1"], told.state, config)] == ["until it is resumed"]
    assert suppresses(by["o3"], told.state, config) == [] and suppresses(by["lost"], told.state, config) == []
    told.event("later", "none", 14 * DAY_MS, episode="e3")
    assert suppresses(by["r1"], told.state, config)[1].ends == "was until"
    assert len(suppresses(by["r1"], told.state, None)) == 1


@pytest.fixture
def client(told: Told) -> TestClient:
    return TestClient(console_of(told.states, {NAME: parcels()}))


def ids(page: str) -> list[str]:
    return re.findall(rf'href="{PATH}/([^"]+)"', page)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", ["lost", "h1", "o3", "o2", "o1", "p1", "r2", "r1"]),
        ("?verb=retrain", ["lost", "r2", "r1"]),
        ("?who=ann", ["o3", "o2", "o1"]),
        ("?who=by+rule&outcome=refused", ["r2"]),
        ("?outcome=carried+out", ["o1", "r1"]),
        ("?episode=e2", ["h1"]),
        ("?verb=dance", []),
        ("?from=6", ["r2", "r1"]),
        ("?from=x", ["lost", "h1", "o3", "o2", "o1", "p1", "r2", "r1"]),
        ("?from=99", []),
    ],
)
def test_the_list_shows_what_fits_the_filters(client: TestClient, query: str, wanted: list[str]) -> None:
    page = client.get(PATH + query).text
    assert ids(page) == wanted
    if not wanted:
        assert "Nothing fits." in page
    for name, value in re.findall(r"[?&](verb|who|outcome)=([\w+]+)", query):
        if value != "dance":
            assert re.search(
                rf'name="{name}">.*?<option selected>{value.replace("+", " ")}<', page, flags=re.S
            )


def test_a_long_audit_is_cut_into_pages(told: Told, client: TestClient) -> None:
    for number in range(130):
        told.request(f"many{number}", "hold")
    page = client.get(PATH + "?verb=hold").text
    assert len(ids(page)) == 100 and ids(page)[0] == "many129"
    [older] = re.findall(r'href="(\?[^"]*)">Older ones', page)
    rest = client.get(PATH + older.replace("&amp;", "&")).text
    assert (
        ids(rest) == [*(f"many{number}" for number in range(29, -1, -1)), "h1"] and "Older ones" not in rest
    )


def test_a_record_says_who_why_on_what_evidence_and_what_watch_says(told: Told, client: TestClient) -> None:
    said = text_of(client.get(f"{PATH}/r1").text)
    for wanted in (
        "by rule", "why r1", "rule r1", "carried out at", "harm of loss", "evidence 30 against 20", "+0.200 nats a label",
        "the mean of 250 labels usually strays by ± 0.1", "0.4000 nats a label", "a broken field", "e1",
        "penstock retrain parcels --reason x", "another retrain that evidence asks for",
    ):  # fmt: skip
        assert wanted in said, wanted
    for one in chosen(told.state, "r1").told:
        for line in tell(one.message, one.wall_ms):
            assert re.sub(r"\s+", " ", line) in said
    said = text_of(client.get(f"{PATH}/o1").text)
    assert (
        "ann" in said
        and "because o1" in said
        and "until it is resumed" in said
        and "The evidence" not in said
    )
    assert client.get(f"{PATH}/h1").status_code == client.get(f"{PATH}/lost").status_code == 200
    assert client.get(f"{PATH}/nothing").status_code == 404


def test_what_is_held_back_now_stands_above_all_else(told: Told) -> None:
    from penstock.stream.control.state import PolicyState
    from penstock.stream.operate.status_found import RoleStatus, Status

    policy = PolicyState(NAME, unattended=[("retrain", told.state.event_at)])
    status = Status(NAME, {"learn": RoleStatus()}, policy=policy, live=told.state.live)
    told.states.looked(NAME, status, 1)
    page = client_of(told).get(PATH).text
    held = text_of(page[page.index('id="live_held"') : page.index('id="h-asked"')])
    assert "the next retrain that evidence asks for: the last one is cooling down" in held
    assert "is told as the same episode" in held
    calm = Told()
    calm.live(1, [])
    assert "Nothing is held back" in text_of(client_of(calm).get(PATH).text)


def client_of(told: Told) -> TestClient:
    return TestClient(console_of(told.states, {NAME: parcels()}))


def test_pages_of_the_audit_stand_by_themselves_and_say_what_others_wrote_as_text(told: Told) -> None:
    evil = '<img src="x">/&?#'
    told.request(evil, "hold")
    console = console_of(told.states, {NAME: parcels()})
    client = TestClient(console)
    page = client.get(PATH).text
    [address] = [one for one in ids(page) if "img" in one]
    assert client.get(f"{PATH}/{address}").status_code == 200
    for name, path in (
        ("audit", PATH),
        ("audit_record", f"{PATH}/{address}"),
        ("audit_record", f"{PATH}/r1"),
    ):
        page = client.get(path).text
        outline = Outline(page)
        assert outline.open == [] and len(set(outline.ids)) == len(outline.ids) and outline.inline == []
        steps = zip(outline.headings, outline.headings[1:], strict=False)
        assert outline.headings.count(1) == 1 and all(after - before <= 1 for before, after in steps)
        assert "<img" not in page and set(console.renderer._live(name)) <= set(outline.ids)
