"""A definition's own detectors: what may be written, what each hears, and how what it finds is told."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from river import anomaly, drift
from river.drift import binary

from penstock import Adwin, Detector, Kswin, PageHinkley, RateRise
from penstock.monitors.series.monitor import SeriesMonitor
from penstock.stream import topology
from penstock.stream.cli.check import describe
from penstock.stream.definition_error import DefinitionError
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.records import rules
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LabelRecord, Sample, encode_entry
from tests.monitors.series.own_detector import ThreeAbove
from tests.stream.generated import parcels
from tests.stream.learn.courses import Course
from tests.stream.learn.task_courses import CASES, log_of, pipeline_of

TOPIC = topology.samples("parcels")


class Raises(ThreeAbove):
    """It cannot bear what is above 3."""

    def update(self, x: float) -> None:
        """As a detector for shares would."""
        if x > 3.0:
            raise ValueError(f"{x} is too much")
        super().update(x)


def watched(*monitors: Any, **more: Any) -> Pipeline:
    return parcels(views=[], monitors=list(monitors), **more)


def unlabelled(**more: Any) -> Pipeline:
    return parcels(label=None, model=anomaly.HalfSpaceTrees(), **more)


def weighed(*monitors: Any) -> Course:
    """A course in which the weight rises by 5 after 500 samples."""
    course = Course(watched(*monitors))
    course.go(500)
    course.go(400, weight=lambda usual: usual + 5.0)
    return course


# -- what may be written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: watched(Adwin("colour")), "Adwin('colour'): there is no such series; there are loss, error, prediction, weight"),
        (lambda: Adwin("loss", delta=2.0), "Adwin('loss'): delta must be above 0 and below 1, not 2.0"),
        (lambda: Adwin(0.01), "Adwin(0.01): the first argument names the series"),  # type: ignore[arg-type]
        (lambda: Adwin("loss", block=0), "block must be a whole number above 0, or None, not 0"),
        (lambda: Adwin("loss", quiet=True), "quiet must be a whole number above 0, or None, not True"),
        (lambda: Adwin("loss", tell="shout"), 'tell must be "note" or "warn", not \'shout\''),  # type: ignore[arg-type]
        (lambda: Adwin("loss", rises="up"), "rises must be True or False, not 'up'"),  # type: ignore[arg-type]
        (lambda: Adwin("loss", name="my one"), "name must be of letters"),
        (lambda: PageHinkley("loss", threshold=-1.0), "threshold must be above 0, not -1.0"),
        (lambda: PageHinkley("loss", min_instances=0), "min_instances must be a whole number of at least 1"),
        (lambda: Kswin("loss", window=50, newest=30), "window must be a whole number of at least 60, not 50"),
        (lambda: RateRise("loss"), 'a loss is no share: name "error"'),
        (lambda: RateRise("error", block=10), "leave block out"),
        (lambda: RateRise("error", threshold=1.0), "threshold must be above 1, not 1.0"),
        (lambda: Detector("loss", ThreeAbove), "is the class ThreeAbove; call it"),
        (lambda: Detector("loss", 5), "must have update(x) and drift_detected, and is 5"),
        (lambda: Detector("loss"), "must have update(x) and drift_detected, and is None"),
        (lambda: Detector("loss", drift.KSWIN()), "KSWIN('loss'): the detector draws by chance: give it a seed"),
        (lambda: Detector("error", binary.DDM()), "DDM takes values of 0 and 1 as they come: say block=None"),
        (lambda: parcels(monitors=Adwin("loss")), "monitors must be a list of detectors"),
        (lambda: watched(Adwin), "not the class Adwin; call it"),
        (lambda: watched("adwin"), "monitors must hold Adwin, PageHinkley, Kswin, RateRise, or a detector"),
        (lambda: watched(Adwin("loss"), Adwin("loss", delta=0.1)), "two monitors are Adwin on 'loss': give one of them a name"),
        (lambda: watched(Adwin("loss", name="harm")), "the name 'harm' is Penstock's own"),
        (lambda: unlabelled(monitors=[Adwin("loss")]), "Adwin('loss') needs labels, and there are none"),
        (lambda: pipeline_of("regression", monitors=[RateRise("error")]), "not between 0 and 1; use Adwin"),
        (lambda: parcels(inputs=["error"], monitors=[Adwin("error")]), "an input has this name, too"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused_where_it_stands(made: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        made()
    assert said in str(refused.value)


def test_one_that_cannot_be_stored_is_refused_where_it_stands() -> None:
    one = ThreeAbove()
    one.draw = lambda: 1  # type: ignore[attr-defined]
    with pytest.raises(DefinitionError, match="cannot be copied and stored"):
        Detector("loss", one)


def test_a_detector_by_itself_is_watched_on_the_series_it_names_or_on_the_loss() -> None:
    own = ThreeAbove()
    own.on = "weight"  # type: ignore[attr-defined]
    found = watched(drift.ADWIN(), binary.DDM(), own).monitors
    assert [(one.kind, one.on, one.block) for one in found] == [
        ("ADWIN", "loss", 125), ("DDM", "error", None), ("ThreeAbove", "weight", 125)
    ]  # fmt: skip


def test_detectors_change_no_recipe_but_a_fold_begins_anew_with_others() -> None:
    plain, one = parcels(), parcels(monitors=[Adwin("loss"), ThreeAbove()])
    assert plain.digest == one.digest and "monitors" not in rules(plain, guard=True)
    again = parcels(monitors=[Adwin("loss"), ThreeAbove()])
    assert rules(one, guard=True) == rules(again, guard=True) != rules(plain, guard=True)
    for other in ([Adwin("loss")], [Adwin("loss"), ThreeAbove(3.0)], [Adwin("error"), ThreeAbove()]):
        assert rules(parcels(monitors=other), guard=True) != rules(one, guard=True)


def test_check_says_what_watches_which_series() -> None:
    said = describe(watched(Adwin("loss", tell="warn"), RateRise("error")))
    assert "detector  Adwin on loss, means of 125 values in units of their noise, told as a warning" in said
    assert "          RateRise on error, values as they come" in said
    assert "detector" not in describe(watched())


# -- how it is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "params"),
    [
        (lambda **more: Adwin("weight", **more), {"delta": 0.002}),
        (lambda **more: PageHinkley("weight", **more), {"threshold": 10.0, "delta": 0.5}),
        (lambda **more: Kswin("weight", window=40, newest=15, **more), {"alpha": 0.0001, "window": 40}),
        (lambda **more: Detector("weight", ThreeAbove(), **more), {"by": 2.0}),
    ],
)
@pytest.mark.parametrize("tell", ["note", "warn"])
def test_what_is_found_is_told_with_its_figures(made: Any, params: dict[str, Any], tell: str) -> None:
    course = weighed(made(block=5, tell=tell, name="heavy"))
    first, *_ = [r.event for r in course.fold.drift.requests if r.event.data.kind == "heavy"]
    data = first.data
    assert first.type == f"penstock.{tell}" and data.suggested_action == "none" and data.state == "firing"
    assert data.detector["name"] == "heavy" and data.detector["subject"] == first.subject == "weight"
    told = data.detector["params"]
    assert isinstance(told, dict) and params.items() <= told.items() and told["block"] % 5 == 0
    assert data.statistic is not None and data.threshold is not None
    if "alpha" in params:
        assert data.statistic < data.threshold
    else:
        assert data.statistic >= data.threshold
    assert data.effect is not None and 2.5 < data.effect < 5.5
    assert "has changed: from" in data.reason
    assert 900 <= data.since["position"] <= 1_100 <= data.detected_at["position"] + 100


def test_one_change_is_one_episode_with_its_end() -> None:
    course = weighed(Adwin("weight", block=5))
    course.go(300, weight=lambda usual: usual + 5.0)
    told = course.told(of="Adwin")
    assert [data.state for data in told] == ["firing", "resolved"] and told[0].episode == told[1].episode
    assert "has not changed again in 24 updates" in told[1].reason


def test_a_change_that_goes_back_says_that_it_is_as_before() -> None:
    course = Course(watched(PageHinkley("weight", block=5)))
    course.go(500)
    course.go(100, weight=lambda usual: usual + 5.0)
    course.go(400)
    told = course.told(of="PageHinkley")
    assert [data.state for data in told] == ["firing", "resolved"] and "is as before" in told[1].reason


def test_a_loss_that_falls_is_no_news_unless_it_is_asked_for() -> None:
    course = Course(watched(Adwin("loss", block=5), Adwin("loss", block=5, rises=False, name="both")))
    course.go(600, noise=0.4)
    course.go(1_200)
    assert course.told(of="Adwin") == [] and course.told(of="both")[0].effect < 0  # type: ignore[operator]


def test_a_detector_that_raises_is_told_of_once_and_the_fold_goes_on() -> None:
    course = weighed(Detector("weight", Raises(), block=None))
    (data,) = course.told(of="Raises")
    assert data.severity == "warning" and "is too much; it is asked no more" in data.reason
    assert course.fold.counts.samples == 900


def test_detectors_move_no_prediction() -> None:
    made = []
    for monitors in (
        [],
        [Adwin("weight", block=5), Adwin("loss", block=5), PageHinkley("prediction", block=5)],
    ):
        course = weighed(*monitors)
        made.append([p.p for p in course.fold.outputs.predictions])
    assert made[0] == made[1]


# -- what each hears ----------------------------------------------------------------------------------------------------


class Heard(ThreeAbove):
    """It remembers, and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def update(self, x: float) -> None:
        """Take one value."""
        self.values.append(x)


def values(fold: Fold, on: str) -> list[float]:
    """What `Heard` on a series was told."""
    for watcher in fold.drift.watchers.all:
        for one in getattr(watcher, "series", ()):
            if isinstance(one, SeriesMonitor) and one.watched.subject == on:
                return list(one.detector.values)  # type: ignore[attr-defined]
    raise AssertionError(on)


@pytest.mark.parametrize("case", list(CASES))
def test_each_series_is_what_it_says_for_every_task(case: str) -> None:
    """The naive oracle: errors by comparing what was published with the label that came."""
    labelled = CASES[case].truth is not None
    series = ["prediction", "weight", *(["loss", "error"] if labelled else [])]
    own = [Detector(on, Heard(), block=None) for on in series]
    pipeline = pipeline_of(case, monitors=own, guard=False)
    fold, log = Fold(pipeline), log_of(case, 400)
    for position, entry in enumerate(log):
        fold.step(position, entry)
    samples = [entry for entry in log if isinstance(entry, Sample)]
    weights = [float(one.x[pipeline.vector_names.index("weight")]) for one in samples if one.x[0] is not None]
    assert values(fold, "weight") == weights
    published = {one.id: fold.task.shown(one.p) for one in fold.outputs.predictions}
    watched = [fold.task.watched(one.p) for one in fold.outputs.predictions]
    assert values(fold, "prediction") == watched
    if not labelled:
        return
    labels = {entry.id: entry.y for entry in log if isinstance(entry, LabelRecord)}
    errors = sorted(_error(case, published[one][0], y) for one, y in labels.items() if one in published)
    heard = sorted(values(fold, "error"))
    assert len(heard) == fold.counts.joined > 300 and len(values(fold, "loss")) == len(heard)
    assert heard == errors
    assert sum(values(fold, "loss")) == pytest.approx(fold.counts.live_loss)


def _error(case: str, said: Any, y: Any) -> float:
    if "regression" in case:
        return float(abs(said - y))
    if case in ("binary", "anomaly"):
        return float((said >= 0.5) != y)
    return float(said != str(y))


# -- snapshots ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [700, 1_101, 1_300])
def test_a_fold_restored_in_the_middle_tells_the_same(cut: int) -> None:
    monitors = [
        Adwin("weight", block=5), PageHinkley("prediction", block=5), Kswin("weight", block=5, window=40, newest=15),
        RateRise("error", threshold=100.0), Detector("weight", ThreeAbove(), block=None),
        Detector("error", binary.HDDMW(), block=None),
    ]  # fmt: skip
    course = weighed(*monitors)
    pipeline, log = course.fold.pipeline, MemoryLog()
    log.create(TOPIC, 1)
    for entry in course.log:
        log.append([Out(TOPIC, b"", encode_entry(entry))])
    before = Fold(pipeline)
    for position, entry in enumerate(course.log[:cut]):
        before.step(position, entry)
    after = restore_fold(pipeline, take(before, log.topic_id(TOPIC)), log, TOPIC)
    told = [one.event for one in before.drift.requests]
    after.drift.requests.clear()
    for position, entry in enumerate(course.log[cut:], cut):
        after.step(position, entry)
    told += [one.event for one in after.drift.requests]
    assert told == [one.event for one in course.fold.drift.requests] and len(told) > 3


def test_a_detector_written_in_the_definitions_own_file_is_stored_and_goes_on(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "pages" / "how-to" / "choose-a-detector.md"
    definition, own = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    entry = 'Detector("amount", FarAbove(), block=2),\n    ],'
    (tmp_path / "mine.py").write_text(
        own + definition.replace("],\n)", f"{entry}\n)").replace("    ],\n    ],", "    ],")
    )
    pipeline = load(tmp_path / "mine.py")
    (one,) = [one for one in pipeline.monitors if one.kind == "FarAbove"]
    monitor = SeriesMonitor(one.watched(), one.make())
    heard = [pickle.loads(pickle.dumps(monitor))]
    told = [found for n in range(1_200) for found in heard[0].update(n, n, float(n % 2) + 50.0 * (n > 300))]
    assert [found.transition.state for found in told] == ["firing", "resolved"]


def test_a_definition_with_detectors_can_be_stored() -> None:
    pipeline = watched(Adwin("loss"), ThreeAbove())
    assert pickle.loads(pickle.dumps(pipeline.monitors))[0] == pipeline.monitors[0]
