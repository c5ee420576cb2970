"""The folds that a naive learner judges have one model for life, whichever engine steps their records."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from penstock.stream.learn import runs
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.runs import Runs
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample
from penstock.stream.recipes import recipe_of
from tests.faults.flows import ONE_MODEL
from tests.stream.generated import START_MS, cards

LABELS = 1_500


def turned_round() -> Iterator[Entry]:
    """Samples and their labels, which say the opposite from the middle on: a rise of loss that nobody overlooks."""
    chance = random.Random(5)
    for number in range(LABELS):
        at, amount = START_MS + 1_000 * number, chance.gauss(0.0, 1.0)
        turned = number >= LABELS // 2
        yield Sample(Origin("t", 0, 2 * number, 0), str(number), "c", at, [amount, None, None])
        yield LabelRecord(Origin("t", 0, 2 * number + 1, 0), str(number), at, (amount > 0.0) != turned)


@pytest.mark.parametrize("engine", ["python", "compiled"])
@pytest.mark.parametrize("one_model", [True, False])
def test_no_expert_is_born_where_one_model_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, engine: str, one_model: bool
) -> None:
    if engine == "python":
        monkeypatch.setattr(runs, "compiled", lambda: None)
    if one_model:
        exec(ONE_MODEL)
    pipeline = cards(guard=False, retrain=[], quality=False)
    fold = Fold(pipeline)
    entries = [recipe_of(pipeline), *turned_round()]
    positions, run, place = list(range(len(entries))), Runs(fold), 0
    while place < len(entries):
        begun, place = place, run.run(entries, positions, place)
        if place == begun:
            fold.step(place, entries[place])
            place += 1
    assert fold.counts.learned == LABELS
    assert (len(fold.experts.models) == 1) == one_model
