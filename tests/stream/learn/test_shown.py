"""What the fold says of its models, to `control.models` and in the public document: true at the record that said it."""

from __future__ import annotations

import random
import re
from typing import Any

import msgspec
import pytest

from penstock.stream.control.policy import decide
from penstock.stream.control.state import PolicyConfig, PolicyState
from penstock.stream.learn.fold import JUDGED_LABELS, Fold
from penstock.stream.messages import Command, LabelRecord, LiveModel, Origin, Recipe, Sample, encode_json
from tests.stream.generated import cards

AT_MS = 1_700_000_000_000


class Folded:
    """A fold over a stream whose outcome turns round: a fresh model takes the lead. `said` is what it published."""

    def __init__(self, labels: int = 2_000, turns_at: int = 1_200, **changes: Any) -> None:
        self.turns_at = turns_at
        self.fold = Fold(cards(**changes))
        self.said: list[LiveModel] = []
        self.position = self.number = 0
        self.chance = random.Random(1)
        self.step(Recipe(self.fold.pipeline.digest, self.fold.pipeline.vector_names, "{}", AT_MS))
        self.more(labels)

    def step(self, entry: Any) -> None:
        """One more record."""
        self.fold.step(self.position, entry)
        self.position += 1
        self.said += self.fold.outputs.live
        self.fold.outputs.live.clear()
        self.fold.outputs.predictions.clear()

    def more(self, labels: int) -> None:
        """Samples, each with its label right after it."""
        for _ in range(labels):
            self.number += 1
            x = [self.chance.random() for _ in self.fold.pipeline.vector_names]
            at, event = AT_MS + self.number * 600_000, f"e{self.number}"
            self.step(Sample(Origin("t", 0, self.number, 0), event, "k", at, x, self.fold.pipeline.digest))
            y = (x[0] > 0.5) != (self.number > self.turns_at)
            self.step(LabelRecord(Origin("t", 0, self.number, 1), event, at, y))


def test_why_a_version_is_live_is_that_it_took_the_lead() -> None:
    folded = Folded()
    took = next(live for live in folded.said if live.version != "v0")
    assert took.why == took.change and took.why.startswith(
        f"{took.version} (a fresh model) takes the lead with 9"
    )
    assert (took.committed, took.alone) == ("v0", False)


def test_with_approval_the_committed_version_stays_live_for_the_reason_that_it_was() -> None:
    folded = Folded(approval=True)
    took = next(live for live in folded.said if "takes the lead" in live.change)
    assert (took.version, took.committed, took.why, took.alone) == ("v0", "v0", "the first model", True)
    assert took.weight < 0.05, "its weight by labels is told all the same"


def test_with_approval_what_is_asked_for_waits_and_says_what_approval_brings() -> None:
    fold = Folded(5_500, turns_at=4_000, approval=True).fold
    [asked] = [one.event for one in fold.drift.requests if one.event.data.suggested_action == "promote"]
    decision = decide(PolicyState("cards"), asked, PolicyConfig(approval=True), 0)
    assert decision is not None and decision.verdict == "waits for approval" and decision.command is None
    version = asked.data.target_version
    assert f"a person's approval: {version} (a fresh model; born " in decision.why
    assert f"; to do it now: penstock promote cards --version {version} --reason" in decision.why
    assert (fold.version, fold.experts.leader.version) == ("v0", version)
    assert " all together lost " in asked.data.reason
    [loss, together] = re.search(r": loss ([\d.]+), all together ([\d.]+)$", asked.data.reason).groups()  # type: ignore[union-attr]
    own = asked.data.detector["params"]
    assert (f"{own['loss']:.3g}", f"{own['against']:.3g}") == (loss, together)
    [live] = [
        one.event
        for one in Folded(5_500, turns_at=4_000).fold.drift.requests
        if one.event.data.target_version
    ]
    alike = live.data.detector["params"]
    assert own["loss"] == pytest.approx(alike["loss"]) and own["against"] == pytest.approx(alike["against"])


def test_a_person_is_told_of_weight_only_where_a_command_gives_it() -> None:
    for approval, pin, says in (
        (False, False, "rolled back: v0 has all the weight: storm (ann)"),
        (False, True, "rolled back: v0 has all the weight, and is pinned: storm (ann)"),
        (True, False, "rolled back: committed v0: storm (ann)"),
    ):
        folded = Folded(100, approval=approval)
        folded.step(Command("c1", "rollback", "storm", "ann", version="v0", pin=pin))
        assert folded.said[-1].change == says


def test_a_broken_leader_that_goes_is_told_with_who_leads_then() -> None:
    folded = Folded()
    fold = folded.fold
    gone = fold.experts.leader
    assert gone.kind == "new"
    gone.model = object()  # answers nothing from here on
    folded.more(10)
    live = next(live for live in folded.said if "is gone" in live.change)
    assert live.version != gone.version and live.why == live.change
    assert live.why == f"{gone.version} gave no number 5 times in a row and is gone: {live.version} leads"
    assert fold.drift.models["leader"] == fold.version


def test_the_public_document_is_the_message_with_what_the_former_one_held() -> None:
    fold = Folded(600).fold
    document = msgspec.json.decode(encode_json(fold.document()))
    live = msgspec.to_builtins(fold.live_model())
    assert {name: document[name] for name in live if name in document} == {
        name: value for name, value in live.items() if name in document
    }
    assert document["experts"] and document["committed"] == "v0" and document["weight"] <= 1.0
    assert (document["labels"], document["digest"]) == (600, fold.digest())
    assert document["states"]["v0"] == "live"


def asked_for(fold: Fold) -> list[str]:
    """The versions that the fold asked to commit."""
    found = [one.event.data.target_version for one in fold.drift.requests]
    return [version for version in found if version is not None]


def test_while_a_version_is_pinned_nothing_asks_for_another_and_when_the_pin_ends_it_is_asked_at_once() -> (
    None
):
    folded = Folded(3_900, turns_at=4_000)
    folded.step(Command("c1", "rollback", "audit", "ann", version="v0", pin=True))
    folded.more(1_500)
    fold = folded.fold
    assert (fold.version, fold.pinned) == ("v0", True) and fold.experts.leader.version != "v0"
    assert asked_for(fold) == []
    folded.step(Command("c2", "resume", "the audit is over", "ann"))
    folded.more(JUDGED_LABELS)
    assert asked_for(fold) == [fold.experts.leader.version]


def test_when_a_pin_ends_why_the_leader_is_live_is_that() -> None:
    folded = Folded(1_000)
    folded.step(Command("c1", "rollback", "audit", "ann", version="v0", pin=True))
    folded.more(1_000)
    leader = folded.fold.experts.leader.version
    assert leader != "v0" and folded.said[-1].why == "rollback: audit (ann)", (
        "v0 is live for the reason that it was"
    )
    folded.step(Command("c2", "resume", "the audit is over", "ann"))
    live = folded.said[-1]
    assert (live.version, live.alone, live.pinned) == (leader, False, False)
    assert live.change == "learning goes on, and no version is pinned: the audit is over (ann)"
    assert live.why == f"v0 is no longer pinned, and {leader} leads"


def test_a_pinned_version_that_is_broken_and_goes_pins_no_other() -> None:
    folded = Folded(1_000)
    version = next(one.version for one in folded.fold.experts.models if one.kind == "new")
    folded.step(Command("c1", "promote", "audit", "ann", version=version, pin=True))
    folded.fold.experts.committed.model = object()
    folded.more(10)
    live = folded.said[-1]
    assert "is gone" in live.change and not live.pinned and not live.alone and live.version != version
