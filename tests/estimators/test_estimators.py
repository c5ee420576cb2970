"""Any river estimator, unchanged: through the fold it says what it says in river, and a log folded again gives the same model."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from math import fsum
from typing import Any

import pytest
from river import compose

from penstock.stream.definitions import DefinitionError
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.tasks.calibrated import CalibratedClassifier, CalibratedDetector
from penstock.stream.messages import LabelRecord, Sample
from tests.estimators import inventory, page, pipelines
from tests.estimators.course import (
    ROOT,
    Course,
    again,
    bits,
    by_fold,
    by_river,
    digests,
    interrupted,
    log_of,
    more_births,
    pipeline_of,
    state_of,
    straight,
)
from tests.estimators.exceptions import LAST_BIT, OTHER_DIGEST, REFUSED, STEPS, UNTRIED
from tests.estimators.inventory import MISSING, Case

pytestmark = pytest.mark.long

CASES = [*inventory.cases(), *pipelines.cases()]
TAKEN = [case for case in CASES if case.estimator not in REFUSED and case.estimator not in MISSING]
REFUSALS = [case for case in CASES if case.estimator in REFUSED]


def name(case: Case) -> str:
    return case.name


@pytest.fixture(autouse=True)
def short_log() -> Iterator[None]:
    with more_births():
        yield


def needs(case: Case) -> None:
    if case.estimator in pipelines.CONVERTED:
        pytest.importorskip("sklearn", reason="scikit-learn is in the extra `test`, and is not installed")


@pytest.mark.parametrize("case", TAKEN, ids=name)
def test_the_fold_says_what_river_says_and_a_snapshot_and_a_replay_are_the_same(case: Case) -> None:
    if case.estimator in pipelines.CONVERTED:
        pytest.importorskip("sklearn", reason="scikit-learn is in the extra `test`, and is not installed")
    expected, (found, fold) = by_river(case), by_fold(case)
    assert len(found.answers) == len(expected.answers) == fold.counts.samples
    assert found.answers == expected.answers
    assert fold.counts.learned == fold.counts.samples
    assert_published(case, found, fold)

    whole, restored, replayed = straight(case), interrupted(case), again(case)
    assert case.kind == "unlabelled" or whole.version_count > 2, "copies and fresh models were made of it"
    if is_of_the_last_bit(case):
        restored = whole
    assert state_of(restored) == state_of(replayed) == state_of(whole)
    digests_agree = found.model == expected.model and digests(restored) == digests(replayed) == digests(whole)
    assert digests_agree == (case.estimator not in OTHER_DIGEST)


def assert_published(case: Case, found: Course, fold: Fold) -> None:
    """What is published is that answer as the task reads it; of calibrated ones, a probability made from it."""
    said = dict(zip(found.order, found.answers, strict=True))
    calibrated = isinstance(fold.experts.first.model, CalibratedClassifier | CalibratedDetector)
    heard: list[Any] = []
    published = iter(fold.outputs.predictions)
    for entry in log_of(case):
        if isinstance(entry, LabelRecord):
            heard.append(entry.y)
        if not isinstance(entry, Sample):
            continue
        p, raw = next(published).p, said[entry.id]
        if case.kind == "unlabelled":
            assert bits(p.score) == raw or isinstance(raw, bool)
        elif calibrated:
            assert all(0.0 <= each <= 1.0 for each in (p.values() if isinstance(p, dict) else [p]))
        elif case.kind == "regression":
            width = max(heard, default=0.0) - min(heard, default=0.0)
            ends = [min(heard) - width, max(heard) + width] if heard else []
            assert raw is None or bits(p) in [raw, *map(bits, ends)]
        elif case.kind == "multiclass" and raw:
            read = {name: p.get(name) for name in raw}
            given = {name: number(value) for name, value in raw.items()}
            total = fsum(given.values())
            assert read == {name: value / total for name, value in given.items()} or total == 0.0
        elif case.kind == "binary" and True in raw:
            assert bits(p) == raw[True]


def number(written: bytes) -> float:
    return float(struct.unpack("<d", written)[0])


@pytest.mark.long
def test_two_processes_with_other_addresses_fold_the_same() -> None:
    """Their hashes of text are the same, as in all processes of Penstock (see `cli`). One of them puts off what river imports."""
    cases = [case.name for case in TAKEN if case.estimator not in pipelines.CONVERTED]
    running = [started("folded", cases), started("folded", cases, PUT_OFF)]
    here, there = (result(one) for one in running)
    different = [one for one in cases if here[one] != there[one]]
    assert different == [one for one in cases if one.partition(",")[0] in OTHER_DIGEST]


def test_what_differs_after_a_snapshot_still_does() -> None:
    cases = [case.name for case in TAKEN if is_of_the_last_bit(case)]
    found = result(started("restored", cases))
    assert len(cases) == len(LAST_BIT)
    assert {one: whole == restored for one, (whole, restored) in found.items()} == dict.fromkeys(cases, False)


def is_of_the_last_bit(case: Case) -> bool:
    return case.estimator in LAST_BIT and case.kind == "multiclass"


PUT_OFF = "from penstock.stream.process.lazy_imports import put_off; put_off()"


def started(what: str, cases: list[str], first: str = "pass") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    run = f"{first}\nimport runpy; runpy.run_module('tests.estimators.course', run_name='__main__')"
    line = [sys.executable, "-c", run, what, json.dumps(cases)]
    return subprocess.Popen(line, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def result(running: subprocess.Popen[str]) -> dict[str, list[str]]:
    said, _ = running.communicate()
    assert running.returncode == 0
    found: dict[str, list[str]] = json.loads(said.splitlines()[-1])
    return found


@pytest.mark.parametrize("case", REFUSALS, ids=name)
def test_what_is_refused_is_refused_in_words_when_the_definition_loads(case: Case) -> None:
    with pytest.raises(DefinitionError) as refused:
        pipeline_of(case)
    assert case.estimator.partition(".")[2] in str(refused.value)


def test_a_copied_selection_of_several_names_may_have_another_order() -> None:
    assert set(STEPS) == {"compose.Select"}
    names = [f"n{number}" for number in range(400)]
    pairs = [compose.Select(*pair) for pair in combinations(names[:60], 2)]
    orders = [(list(one.keys), list(one.clone().keys)) for one in pairs]
    assert any(before != after for before, after in orders)
    x = dict.fromkeys(names, 1.0)
    assert list(compose.Discard("n0", "n7", "n9").transform_one(x)) == [
        n for n in names if n not in ("n0", "n7", "n9")
    ]


def test_the_lists_of_exceptions_name_only_what_river_has() -> None:
    names = set(inventory.estimators())
    assert {*REFUSED, *OTHER_DIGEST, *LAST_BIT, *UNTRIED} <= names
    assert len(names) > 85 and len(TAKEN) > 125
    assert set(inventory.ARGUMENTS) <= names
    assert MISSING <= set(UNTRIED)


def test_the_page_says_what_is_tested_here() -> None:
    assert page.PAGE.read_text() == page.text(), "run `make docs` and commit what it wrote"
