"""What the fold says of its models, to `control.models` and in the public document: true at the record that said it."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from penstock.stream.learn.fold import Fold
from penstock.stream.messages import Command, LabelRecord, LiveModel, Origin, Recipe, Sample, encode_json
from tests.stream.generated import cards

AT_MS = 1_700_000_000_000
TURNS_AT = 1_200


class Folded:
    """A fold over a stream whose outcome turns round at `TURNS_AT`: a fresh model takes the lead. `said` is what it published."""

    def __init__(self, labels: int = 2_000, **changes: Any) -> None:
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
            y = (x[0] > 0.5) != (self.number > TURNS_AT)
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
