"""One screen: what is wrong comes first, and every number says over what it was taken."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from penstock.stream.messages import ControlData, ControlEvent, ExpertShown, LiveModel
from penstock.stream.operate.scores import Scores
from penstock.stream.operate.status_found import LEAST_LABELS, RoleStatus, Status, still_open, wrong
from penstock.stream.operate.status_lines import as_json, as_text


def event(state: str) -> ControlEvent:
    data = ControlData(
        pipeline="cards", episode="e", kind="psi", state=state, severity="info", reason="it moved", detector={},
        since={"at": 0}, detected_at={"at": 0}, suggested_action="note",
    )  # fmt: skip
    return ControlEvent(id="e-1", source="s", type="t", subject="amount", time="", data=data)


def status(**changes: Any) -> Status:
    roles = {name: RoleStatus([f"{name}-0 at 10.0.0.1"], 0) for name in ("featurize", "learn", "control")}
    live = LiveModel(pipeline="cards", version="v3", why="it won", at=0, position=9, recipe="r")
    found = Status("cards", roles, 900, 500, 400, 100, 1.5, 0.4, Scores(400, 0.2, 0.3, 0.81), live=live)
    for name, value in changes.items():
        setattr(found, name, value)
    found.wrong = wrong(found)
    return found


def test_of_several_findings_in_one_episode_each_is_open_until_it_is_over_itself() -> None:
    psi, over = event("firing"), event("resolved")
    harm = msgspec.structs.replace(psi, data=msgspec.structs.replace(psi.data, kind="harm"))
    assert still_open([psi, harm, over]) == [harm]
    assert still_open([harm, psi]) == [harm, psi]


def test_a_healthy_pipeline_fits_one_screen_and_says_so_first() -> None:
    lines = as_text(status())
    assert lines[0] == "cards: all is well" and len(lines) < 15
    text = "\n".join(lines)
    assert "learn      learn-0 at 10.0.0.1; lag 0 records" in text
    assert "live       v3: it won; said at 01 Jan 1970" in text, "a former version's message names no experts"
    assert "0.2000 nats against 0.3000 of the base rate; AUC 0.810; over 400 labels" in text
    assert "500 samples, 400 labels, 100 samples without one yet" in text and "said the same" not in text


def test_labels_that_were_said_again_are_told_by_whether_they_contradict() -> None:
    found = status(duplicates=7, contradictions=2)
    assert "7 labels said the same of an id again, 2 something else; only the first counts" in "\n".join(
        as_text(found)
    )
    assert (as_json(found)["duplicate_labels"], as_json(found)["contradicting_labels"]) == (7, 2)


def test_the_leader_the_committed_one_and_how_many_there_are_are_told_in_short() -> None:
    experts = [
        ExpertShown(version="base", kind="base", weight=0.01), ExpertShown(version="v0", kind="first", weight=0.3),
        ExpertShown(version="v3", kind="retrained", weight=0.69),
    ]  # fmt: skip
    live = LiveModel(
        pipeline="cards", version="v3", why="it won", at=0, position=9, recipe="r", experts=experts, committed="v0", weight=0.69
    )  # fmt: skip
    assert (
        "live       v3: it won; v3 (the product of a retrain) leads with 69% of the weight, v0 is committed, of 2 models; "
        "said at 01 Jan 1970 00:00:00 (event time)"
    ) in as_text(status(live=live))
    pinned = msgspec.structs.replace(live, version="v0", weight=0.3, pinned=True, alone=True)
    found = status(live=pinned)
    assert found.wrong == [] and "v0 (the first model, never touched) predicts alone, pinned" in "\n".join(
        as_text(found)
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"roles": {"featurize": RoleStatus([], None)}}, "nobody runs featurize: penstock run FILE --role featurize"),
        ({"scores": Scores(LEAST_LABELS, 0.4, 0.3, 0.4)}, "worse than the base rate: 0.4000 against 0.3000 nats"),
        ({"open": [event("firing")]}, "psi of amount is firing"),
        ({"waiting": {"r1": "retrain: asks first"}}, "waits for a person: retrain: asks first"),
        (
            {"roles": {"featurize": RoleStatus(["f"], 7)}, "tick_age_s": 90.0},
            "featurize has 7 records to read and wrote nothing for 90 s",
        ),
        (
            {"live": LiveModel(pipeline="cards", version="v", why="", at=0, position=0, recipe="", held=True)},
            "learning is held: penstock resume cards",
        ),
    ],
)  # fmt: skip
def test_what_a_person_should_look_at_is_wrong_and_told_first(changes: dict[str, Any], says: str) -> None:
    found = status(**changes)
    assert any(says in line for line in found.wrong)
    lines = as_text(found)
    assert lines[0] == "cards: something is wrong" and lines[1].startswith("!! ") and says in "\n".join(lines)
    assert as_json(found)["healthy"] is False


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": Scores(LEAST_LABELS - 1, 0.4, 0.3, None)},  # too few to say
        {"open": [event("suspected")]},
        {"tick_age_s": 9_000.0},  # silence with nothing to read
        {"scores": None, "event_age_s": None, "tick_age_s": None, "live": None},
        {"dead_total": 3, "dead": Counter({("cards.paid", "not a JSON object"): 3})},
    ],
)
def test_what_is_no_reason_to_wake_anybody_is_told_and_healthy(changes: dict[str, Any]) -> None:
    found = status(**changes)
    assert found.wrong == [] and json.dumps(as_json(found))
    assert as_text(found)[0] == "cards: all is well"


def test_dead_letters_are_told_by_source_and_reason_and_nothing_is_obeyed_by_the_terminal() -> None:
    text = "\n".join(as_text(status(dead_total=5_000, dead=Counter({("cards.paid", "bad \x1b[2J"): 900}))))
    assert "5,000 dead letters; of the newest 1,000:" in text and "900 × cards.paid: bad" in text
    assert "\x1b" not in text
