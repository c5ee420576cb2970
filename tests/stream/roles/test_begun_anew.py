"""A role among others in one process that cannot go on, and one page for all of them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.stream.process.pages_together import HealthTogether
from penstock.stream.roles.begun_anew import LONGEST_PAUSE_S, Begun, BegunAnew


class Worker:
    """Works until told to fail."""

    def __init__(self, course: list[str]) -> None:
        self.course, self.fails = course, False

    def process_batch(self, timeout_s: float) -> int:
        if self.fails:
            raise ValueError("told to")
        return 3

    def close(self) -> None:
        self.course.append("closed")
        raise OSError("closing fails, too")


class Role:
    """A role on a clock that the test moves; `course` is what became of it."""

    def __init__(self) -> None:
        self.now_s, self.course, self.refuses = 0.0, [], False  # type: float, list[str], bool
        self.page = HealthTogether()
        part = self.page.part("learn", "flights")
        self.role = BegunAnew("learn of flights", self.begin, part, lambda: self.now_s)
        self.worker: Any = None

    def begin(self) -> Begun:
        if self.refuses:
            raise ValueError("not yet")
        self.course.append("begun")
        self.worker = Worker(self.course)
        return Begun(self.worker, [lambda: self.course.append("after")])


def test_one_that_fails_is_closed_and_begun_anew_after_pauses_that_double() -> None:
    made = Role()
    made.role.start()
    assert made.role.turn() == 3
    made.worker.fails = made.refuses = True
    assert made.role.turn() == 0
    assert made.course == ["begun", "closed", "after"] and isinstance(made.role.failure, ValueError)
    tries = []
    for tenth in range(1, 4_000):
        made.now_s, before = tenth / 10, made.role.due_s
        made.role.turn()
        if made.role.due_s != before:
            tries.append(made.now_s)
    pauses = [later - sooner for sooner, later in zip([0.0, *tries], tries, strict=False)]
    assert pauses[:7] == pytest.approx([1, 2, 4, 8, 16, 32, 60], abs=0.11)
    assert max(pauses) <= LONGEST_PAUSE_S + 0.11
    made.refuses = False
    made.now_s += LONGEST_PAUSE_S
    assert made.role.turn() == 3 and made.role.failure is None
    made.now_s += LONGEST_PAUSE_S
    made.worker.fails = True
    made.role.turn()
    assert made.role.due_s == made.now_s + 1


def test_what_cannot_begin_at_the_start_is_raised() -> None:
    made = Role()
    made.refuses = True
    with pytest.raises(ValueError, match="not yet"):
        made.role.start()


def test_the_page_names_the_part_of_every_series_and_what_is_not_ready() -> None:
    page = HealthTogether(pipeline="flights,cards")
    learn, featurize = page.part("learn", "flights"), page.part("featurize", "cards")
    learn.predictions.inc(7)
    code, _, text = page.status("/metrics")
    assert code == 200
    families = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in families}) == len(families)
    by_name = {family.name: family.samples for family in families}
    assert [(one.labels, one.value) for one in by_name["penstock_predictions"]] == [
        ({"process_part": "flights/learn"}, 7)
    ]
    built = {
        (one.labels.get("process_part"), one.labels["pipeline"], one.labels["role"])
        for one in by_name["penstock_build_info"]
    }
    assert built == {
        (None, "flights,cards", "all"),
        ("flights/learn", "flights", "learn"),
        ("cards/featurize", "cards", "featurize"),
    }
    assert by_name["penstock_resident_memory_bytes"][0].value > 1e6
    learn.ready({"assigned": True})
    featurize.ready({"assigned": True, "rebuilt": False})
    assert page.status("/readyz")[::2] == (503, b"all is not ready\nnot cards/featurize: rebuilt\n")
    featurize.ready({"assigned": True, "rebuilt": True})
    assert page.status("/readyz")[::2] == (200, b"all is ready\n")
