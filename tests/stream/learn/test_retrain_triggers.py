"""Triggers over the samples log: each fires once, with its evidence, wherever the fold was started again in between."""

from __future__ import annotations

import pickle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import OnInputs, OnLabels, OnPerformance, OnSchedule
from penstock.monitors.episodes import Transition
from penstock.stream import topology
from penstock.stream.learn.events import Request
from penstock.stream.learn.records import FoldCounts, Job
from penstock.stream.learn.replay import fresh, prepare, replay
from penstock.stream.learn.retrain import run_job
from penstock.stream.learn.retrain_triggers import LATEST_MS, RetrainTriggers
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Command, ControlData, Sample, Tick, encode_entry
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.models.version import restore
from tests.stream.generated import DAY, HOUR, MINUTE, START_MS, entries, parcels
from tests.stream.learn.courses import Course
from tests.stream.learn.test_drift import found, watching

MODELS: dict[str, str | None] = {"leader": "v0", "committed": "v0"}
EVERY = 6 * HOUR


def triggers(*lines: Any, **fields: Any) -> RetrainTriggers:
    return RetrainTriggers(parcels(retrain=lines, **fields), FoldCounts(), {})


def tick(of: RetrainTriggers, position: int, clock: int, *, acting: bool = True) -> list[ControlData]:
    return [one.event.data for one in of.tick(position, clock, clock, MODELS, acting=acting)]


# -- schedule and labels, in any course ----------------------------------------------------------------------------------------

courses = st.lists(
    st.one_of(
        st.tuples(
            st.just("tick"), st.sampled_from([HOUR, 3 * HOUR, 6 * HOUR, 20 * MINUTE, 30 * HOUR, 0, -HOUR])
        ),
        st.tuples(st.just("label"), st.integers(1, 40)),
        st.tuples(st.just("start"), st.just(0)),
    ),
    min_size=12,
    max_size=40,
)


class Fold:
    """As much of a fold as triggers know, given a course; it may be stored and restored between any two records."""

    def __init__(self, lines: list[Any]) -> None:
        self.counts, self.jobs = FoldCounts(), dict[str, Job]()
        self.lines, self.clock = lines, START_MS
        self.triggers = RetrainTriggers(parcels(retrain=lines), self.counts, self.jobs)
        self.fired: list[Request] = []

    def step(self, position: int, kind: str, number: int) -> None:
        if kind == "tick":
            self.clock += number
            self.fired += self.triggers.tick(position, self.clock, self.clock, MODELS, acting=True)
        elif kind == "start":
            self.triggers.started(f"c{position}", "demand", self.clock, position)
        else:
            for _ in range(number):
                self.counts.learned += 1
                if self.counts.learned >= self.triggers.labels_due:
                    self.fired += self.triggers.counted(position, self.clock, MODELS)

    def restart(self) -> None:
        self.counts, self.jobs, self.triggers = pickle.loads(
            pickle.dumps((self.counts, self.jobs, self.triggers))
        )
        self.triggers.under(parcels(retrain=self.lines))


@given(courses, st.integers(1, 90), st.sets(st.integers(0, 40)))
def test_any_course_gives_the_same_triggers_once_each_however_often_the_fold_is_restored(
    course: list[Any], labels: int, restarts: set[int]
) -> None:
    lines = [OnSchedule("6h"), OnSchedule("0 */8 * * *"), OnLabels(labels)]
    one, other = Fold(lines), Fold(lines)
    for position, (kind, number) in enumerate(course):
        one.step(position, kind, number)
        if position in restarts:
            other.restart()
        other.step(position, kind, number)
    assert other.fired == one.fired
    ids = [request.event.id for request in one.fired]
    assert len(set(ids)) == len(ids)
    # Whoever counts by hand: every line of the grid between the first clock and the last is due once, or missed once.
    clocks = [START_MS]
    for kind, number in course:
        clocks.append(clocks[-1] + number if kind == "tick" else clocks[-1])
    reached = [clock for (kind, _), clock in zip(course, clocks[1:], strict=True) if kind == "tick"]
    for every, rule in ((EVERY, "OnSchedule(every='6h'"), (8 * HOUR, "OnSchedule(every='0 */8")):
        told = [
            r.event.data.trigger
            for r in one.fired
            if r.event.data.trigger and r.event.data.trigger.rule.startswith(rule)
        ]
        lines_passed = max(reached) // every - reached[0] // every if reached else 0
        assert sum(1 + fired.missed for fired in told) == lines_passed
        assert all(fired.due_at and fired.due_at % every == 0 for fired in told)
    # and a retrain on labels is asked for at every so many since the last was begun or asked for, once a record
    counted, expected = 0, []
    for position, (kind, number) in enumerate(course):
        if kind == "start":
            counted = 0
        for _ in range(number if kind == "label" else 0):
            counted += 1
            if counted >= labels and expected[-1:] != [position]:
                expected.append(position)
                counted = 0
    assert [
        r.event.data.detected_at["position"] for r in one.fired if r.event.data.kind == "labels"
    ] == expected


def test_due_times_passed_in_one_step_are_one_run_that_says_how_many_were_missed_and_why() -> None:
    of = triggers(OnSchedule("6h", window="30d"))
    start = START_MS // EVERY * EVERY
    assert tick(of, 5, start + 1) == [], "nobody knows since when that line lay behind"
    [usual] = tick(of, 6, start + EVERY)
    assert usual.trigger is not None and (usual.trigger.due_at, usual.trigger.missed) == (start + EVERY, 0)
    assert usual.suggested_action == "retrain" and "missed" not in usual.reason
    assert usual.command == f'penstock retrain parcels --window 30d --reason "episode {usual.episode}"'
    [late] = tick(of, 7, start + 5 * EVERY + HOUR)
    assert late.trigger is not None and (late.trigger.due_at, late.trigger.missed) == (start + 5 * EVERY, 3)
    assert (
        "3 before it were missed, since event time went from" in late.reason
        and "in one step" in late.trigger.why_missed
    )
    assert tick(of, 8, start + EVERY) == [], "the clock does not go back"


def test_what_was_due_while_the_log_stood_under_another_definition_is_missed_and_says_so() -> None:
    of = triggers(OnSchedule("6h"))
    start = START_MS // EVERY * EVERY
    tick(of, 5, start + 1)
    for number in range(1, 4):
        assert tick(of, 5 + number, start + number * EVERY, acting=False) == []
    [found_] = tick(of, 9, start + 4 * EVERY)
    assert found_.trigger is not None and found_.trigger.missed == 3
    assert found_.trigger.why_missed == "the samples log stood under another definition meanwhile"


def test_an_absurd_event_time_ends_no_fold() -> None:
    of = triggers(OnSchedule("0 3 * * *"))
    tick(of, 1, START_MS)
    assert tick(of, 2, LATEST_MS + 1) == [] and len(tick(of, 3, START_MS + DAY)) == 1


def test_two_schedules_due_at_once_ask_once() -> None:
    of = triggers(OnSchedule("6h"), OnSchedule("12h"))
    start = START_MS // DAY * DAY
    tick(of, 1, start)
    first, second = tick(of, 2, start + 12 * HOUR)
    assert first.suggested_action == "retrain" and second.suggested_action == "none" and second.command == ""
    assert second.trigger is not None and second.trigger.joins and "asked for already" in second.reason


def test_what_fires_while_a_retrain_is_under_way_is_told_as_joining_it() -> None:
    of = triggers(OnSchedule("6h"), OnLabels(10))
    tick(of, 1, START_MS)
    of.open_jobs["command-r1"] = Job(0, 5, [])
    of.counts.learned = 10
    told = [*tick(of, 2, START_MS + EVERY), of.counted(3, START_MS, MODELS)[0].event.data]
    assert [data.suggested_action for data in told] == ["none", "none"]
    assert all(data.trigger is not None and data.trigger.joins == "command-r1" for data in told)
    assert all("it joins the retrain under way (command-r1)" in data.reason for data in told)
    assert of.totals()["schedule", "joined"] == of.totals()["labels", "joined"] == 1


def test_a_trigger_says_what_it_counted_since_the_last_retrain_and_which_models_there_were() -> None:
    of = triggers(OnLabels(10))
    of.counts.learned = 7
    of.started("command-r1", "demand", START_MS, 42)
    of.counts.learned = 17
    assert of.labels_due == 17
    data = of.counted(60, START_MS + 5, MODELS)[0].event.data
    assert data.trigger is not None
    assert (data.trigger.labels, data.trigger.after, data.trigger.after_position) == (10, "command-r1", 42)
    assert (data.statistic, data.threshold, data.model, data.since) == (
        10,
        10,
        MODELS,
        {"at": START_MS, "position": 42},
    )
    assert of.labels_due == 27 and of.totals()["demand", "begun"] == 1


# -- performance and inputs ----------------------------------------------------------------------------------------------------


def told_by(moved: list[Transition], **fields: Any) -> list[tuple[str, ControlData]]:
    """What the rules tell of findings: (topic, data)."""
    watch = watching(**fields)
    watch.requests.clear()
    for one in moved:
        for change in watch.episodes.apply_all([one]):
            if one.monitor == "harm":
                watch._harm_moved(change)
            else:
                watch._tell("note", change, f"the distribution of {one.subject} moved")
    return [(request.topic, request.event.data) for request in watch.requests]


def test_lost_skill_is_the_trigger_on_performance_and_only_told_where_the_definition_has_none() -> None:
    lost = found("harm", "firing")
    [(topic, asks)] = told_by([lost])
    assert (
        topic == topology.CONTROL_RETRAIN and asks.trigger is not None and asks.trigger.kind == "performance"
    )
    assert asks.trigger.window == "since-onset" and "--from-position 500" in asks.command
    [(_, long)] = told_by([lost], retrain_window="30d")
    assert long.trigger is not None and long.trigger.window == "30d" and "--window 30d" in long.command
    [(topic, told)] = told_by([lost], retrain=[OnSchedule("7d")])
    assert topic == topology.CONTROL_ALERTS and told.suggested_action == "none" and told.trigger is None
    assert "has no OnPerformance" in told.reason and told.command.startswith("penstock retrain parcels")


def psi(state: Any, subject: str = "weight", position: int = 600) -> Transition:
    return found("psi", state, subject=subject, position=position)


def test_moved_inputs_propose_once_until_they_are_over() -> None:
    both = [psi("firing"), psi("firing", "depot.late_3h"), psi("resolved"), psi("firing", "street.idle")]
    (topic, asks), (_, joins), (_, over), (_, again) = told_by(both, retrain=[OnInputs()])
    assert topic == topology.CONTROL_RETRAIN and asks.suggested_action == "retrain"
    assert asks.trigger is not None and asks.trigger.proposes and "only proposed" in asks.reason
    assert (
        joins.suggested_action == "none" and joins.trigger is not None and joins.trigger.joins == asks.episode
    )
    assert over.trigger is None and over.suggested_action == "none"
    assert again.suggested_action == "retrain" and again.trigger is not None and again.trigger.joins is None


def test_moved_inputs_are_a_note_without_the_trigger_and_a_moved_prediction_always_is() -> None:
    assert [(t, d.suggested_action, d.trigger) for t, d in told_by([psi("firing")])] == [
        (topology.CONTROL_ALERTS, "none", None)
    ]
    [(topic, told)] = told_by([psi("firing", "prediction")], retrain=[OnInputs(acts=True)])
    assert topic == topology.CONTROL_ALERTS and told.trigger is None
    [(_, acts)] = told_by([psi("firing")], retrain=[OnInputs(acts=True)])
    assert acts.trigger is not None and not acts.trigger.proposes


# -- in the fold ---------------------------------------------------------------------------------------------------------------


def test_in_the_fold_labels_ask_and_a_begun_retrain_counts_anew_and_all_is_shown() -> None:
    course = Course(
        parcels(views=[], retrain=[OnLabels(100), OnSchedule("12h"), OnInputs(), OnPerformance()])
    )
    course.go(150)
    [asked] = course.told(of="labels")
    assert asked.detected_at["position"] == 199 and asked.suggested_action == "retrain"
    assert [one.labels_missing for one in course.fold.live_model().triggers] == [50, None, None, None]
    assert "100 labels were learned" in course.fold.outputs.live[-1].change, "and the topic of models says so"
    course.give(Command("command-x", "retrain", by="policy", trigger="labels", episode=asked.episode))
    assert course.fold.live_model().retraining == ["command-x"]
    assert course.fold.live_model().triggers[0].labels_missing == 100
    course.go(100)
    second = course.told(of="labels")[1]
    assert (
        second.trigger is not None
        and second.trigger.joins == "command-x"
        and second.suggested_action == "none"
    )


def test_a_triggers_command_joins_the_retrain_under_way_and_a_persons_only_on_the_same_stretch() -> None:
    course = Course()
    course.go(50)
    assert course.command("retrain", trigger="demand") is None
    [job] = course.fold.open_jobs
    assert course.fold.outputs.live[-1].change.startswith("retrain started")
    assert course.command("retrain", trigger="schedule", window="1h") is None
    assert course.fold.outputs.live[-1].change.startswith(f"it joins the retrain under way ({job})")
    assert course.command("retrain", trigger="demand", window="all") is None
    assert "another stretch" in (course.command("retrain", trigger="demand", window="30m") or "")
    assert list(course.fold.open_jobs) == [job] and course.fold.triggers.begun["demand"] == 1


def test_a_window_of_a_length_begins_where_that_event_time_was_reached() -> None:
    course = Course()
    for hour in range(30):
        course.go(60)
        course.give(Tick({"sent/0": START_MS + hour * HOUR}, [], 0))
    assert course.command("retrain", window="5h", trigger="demand") is None
    [job] = course.fold.open_jobs.values()
    assert job.since_at == course.fold.at - 5 * HOUR
    older = [p for p, entry in enumerate(course.log) if isinstance(entry, Sample) and entry.at < job.since_at]
    first = next(
        p for p, entry in enumerate(course.log) if isinstance(entry, Sample) and entry.at >= job.since_at
    )
    assert first - 300 < job.start <= first and len(older) > 1_000


def test_since_onset_by_hand_means_what_is_open_and_is_refused_where_nothing_is() -> None:
    course = Course()
    course.go(20)
    assert "nothing is open that has an onset" in (course.command("retrain", window="since-onset") or "")
    assert "window 'soon' is none" in (course.command("retrain", window="soon") or "")
    for one in (psi("firing", position=33), found("harm", "firing", since=12, position=34)):
        course.fold.drift.episodes.apply_all([one])
    assert course.command("retrain", window="since-onset") is None
    assert [job.start for job in course.fold.open_jobs.values()] == [12]


# -- a replay, and a snapshot in the middle --------------------------------------------------------------------------------------

TOPIC = topology.samples("parcels")
PIPELINE = parcels(
    retrain=[OnSchedule("1h"), OnSchedule("30 */2 * * *"), OnLabels(60), OnInputs(), OnPerformance()]
)


def log_of() -> tuple[MemoryLog, list[Any]]:
    """A log with ticks, and a retrain for some of what is asked."""
    given_ = entries(400, late=60)
    given_.insert(300, Command("command-a", "retrain", window="2h", trigger="labels", episode="x"))
    given_.insert(301, Command("command-b", "retrain", trigger="schedule", episode="y"))
    log = MemoryLog()
    log.create(TOPIC)
    log.append([Out(TOPIC, None, encode_entry(entry), (), 0) for entry in given_])
    return log, given_


def go(fold: Any, log: MemoryLog, given_: list[Any], stop: int) -> list[Request]:
    for position in range(fold.position, stop):
        need = fold.needs(given_[position])
        prepared = need and prepare(fold, log, TOPIC, MemoryModelStore(), position, given_[position], need)
        fold.step(position, given_[position], prepared)
    return list(fold.drift.requests)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 780), max_size=4))
def test_restored_from_snapshots_taken_anywhere_the_fold_fires_the_same_triggers(places: list[int]) -> None:
    log, given_ = log_of()
    whole = replay(PIPELINE, log, TOPIC)

    straight, fold = fresh(PIPELINE, log, TOPIC), fresh(PIPELINE, log, TOPIC)
    expected = go(straight, log, given_, len(given_))
    told: list[Request] = []
    for place in sorted(places):
        told += go(fold, log, given_, min(place, len(given_)))
        fold = restore_fold(PIPELINE, take(fold, log.topic_id(TOPIC)), log, TOPIC)
        fold.drift.requests.clear()
    told += go(fold, log, given_, len(given_))
    assert told == expected and fold.digest() == whole.digest() == straight.digest()
    assert {request.event.data.kind for request in expected} >= {"schedule", "labels"}


def test_a_restored_fold_goes_on_under_the_triggers_of_the_definition_it_is_given() -> None:
    log, given_ = log_of()
    fold = go_to(log, given_, 200)
    other = parcels(retrain=[OnLabels(1_000)])
    restored = restore_fold(other, take(fold, log.topic_id(TOPIC)), log, TOPIC)
    assert restored.triggers.rules == other.retrain
    assert restored.triggers.labels_due == restored.triggers.counted_from + 1_000
    assert restored.triggers.counts is restored.counts and restored.drift.triggers is restored.triggers


def go_to(log: MemoryLog, given_: list[Any], stop: int) -> Any:

    fold = fresh(PIPELINE, log, TOPIC)
    go(fold, log, given_, stop)
    return fold


def test_triggers_change_what_is_asked_for_and_no_result() -> None:
    log, _ = log_of()
    digests = {replay(parcels(retrain=lines), log, TOPIC).digest() for lines in ([], PIPELINE.retrain)}
    assert len(digests) == 1


def test_a_job_with_a_window_teaches_only_what_is_in_it_also_when_it_is_trained_again() -> None:

    log, given_ = log_of()
    fold = go_to(log, given_, 320)
    [(name, job)] = fold.open_jobs.items()
    assert name == "command-a" and job.since_at == fold_at(given_, 300) - 2 * HOUR
    models = MemoryModelStore()
    version = run_job(PIPELINE, log, models, name, job)
    assert "samples from" in version.why
    inside = [e.id for e in given_[: job.stop] if isinstance(e, Sample) and e.at >= job.since_at]
    stored = models.get(version.id)
    assert stored is not None
    learned = restore(stored[1])["StandardScaler"].counts["weight"]
    assert 0 < learned == version.labels <= len(inside) < 300


def test_what_the_product_catches_up_with_lies_in_its_window_too() -> None:
    """A sample older than the window that gets its label behind the retrain teaches nothing."""
    log, given_ = log_of()
    fold = go_to(log, given_, 301)
    [(name, job)] = fold.open_jobs.items()
    models = MemoryModelStore()
    made = run_job(PIPELINE, log, models, name, job)
    adopt = Command(
        f"adopt-{name}",
        "adopt",
        version=made.id,
        from_position=0,
        trained_to=job.stop,
        digest=made.digest,
        join_from=0,
    )
    need = fold.needs(adopt)
    assert need is not None
    product = prepare(fold, log, TOPIC, models, 400, adopt, need)
    fold.open_jobs[name] = job._replace(since_at=START_MS + 10 * DAY)
    nothing = prepare(fold, log, TOPIC, models, 400, adopt, need)
    counted = [one["StandardScaler"].counts["weight"] for one in (product, nothing)]
    assert counted[0] > made.labels == counted[1]


def fold_at(given_: list[Any], stop: int) -> int:
    return max(entry.at for entry in given_[:stop] if hasattr(entry, "origin"))
