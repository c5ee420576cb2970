"""The health page, asked over HTTP as Prometheus and an orchestrator ask it."""

from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.stream.learn.events import KINDS
from penstock.stream.learn.expert import Kind
from penstock.stream.learn.experts import Experts
from penstock.stream.learn.records import FoldCounts
from penstock.stream.learn.retrain_triggers import RetrainTriggers
from penstock.stream.log.protocol import AppendFailed
from penstock.stream.process.health_page import MOST_REASONS, SILENT_S
from penstock.stream.process.metric_list import METRICS, ROLES
from penstock.stream.process.settings import Settings
from penstock.stream.roles.metrics import FeaturizeReport, Growth, Health, LearnReport
from penstock.stream.roles.start import open_log
from penstock.stream.roles.waiting import LAST_WAIT_S
from tests.patience import PATIENCE_S
from tests.stream.generated import parcels


@pytest.fixture
def health():
    with Health("learn", pipeline="flights") as page:
        yield page


@pytest.fixture
def featurize():
    with Health("featurize") as page:
        yield page


def get(health: Health, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            f"http://{health.host}:{health.port}{path}", timeout=PATIENCE_S
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sample(health: Health, name: str, **labels: str) -> float:
    found = health.registry.get_sample_value(name, labels)
    assert found is not None, name
    return found


@pytest.mark.parametrize("role", ROLES)
def test_a_role_shows_its_part_of_the_table_and_nothing_else(role):
    health = Health(role)
    families = {
        family.name for family in text_string_to_metric_families(health.status("/metrics")[2].decode())
    }
    assert families == {metric.name for metric in METRICS if role in metric.roles}
    assert {"penstock_build_info", "penstock_role_ready", "penstock_turns"} < families


def test_names_follow_prometheus():
    for metric in METRICS:
        assert re.fullmatch(r"penstock(_[a-z0-9]+)+", metric.name) and metric.help
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_age_seconds", "_ms"))
        assert not {"id", "key", "entity", "le", "quantile", "job", "instance"} & {*metric.labels}
        assert set(metric.roles) <= set(ROLES) and metric.roles


def test_metrics_parse_and_name_what_runs(health):
    health.records.labels("flights.samples").inc(3)
    code, text = get(health, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert code == 200
    (build,) = families["penstock_build_info"].samples
    assert build.value == 1
    assert (build.labels["role"], build.labels["pipeline"]) == ("learn", "flights")
    assert {*build.labels} == {"role", "pipeline", "version", "python"}
    assert 'penstock_records_total{topic="flights.samples"} 3.0' in text


def test_a_loop_that_turns_is_healthy_and_one_that_hangs_is_not():
    with Health("learn", stalled_s=1e9) as page:
        assert get(page, "/healthz")[0] == 200
    with Health("learn", stalled_s=-1.0) as page:
        page.turned()
        code, text = get(page, "/healthz")
        assert code == 503 and text.startswith("learn: the loop turned")


def test_a_loop_that_hangs_is_not_ready_whatever_it_last_said():
    with Health("learn", stalled_s=-1.0) as page:
        page.ready({"assigned": True})
        code, text = get(page, "/readyz")
        assert code == 503 and "not turning: the loop turned" in text


def test_a_loop_that_has_not_turned_for_seconds_is_not_ready_long_before_it_is_restarted(health):
    health.ready({"assigned": True})
    health.turned_s -= SILENT_S - 5.0
    assert get(health, "/readyz")[0] == get(health, "/healthz")[0] == 200
    health.turned_s -= 6.0
    assert get(health, "/readyz")[0] == 503 and get(health, "/healthz")[0] == 200


def test_a_loop_that_waits_for_kafka_is_not_ready_and_not_to_be_restarted(health, monkeypatch):
    health.ready({"assigned": True})
    health.turned_s -= 60.0
    assert get(health, "/readyz")[0] == get(health, "/healthz")[0] == 503
    made = {}
    monkeypatch.setattr("penstock.stream.roles.start.KafkaLog", lambda *given, **named: made.update(named))
    open_log(Settings(), health)
    made["on_wait"](5, 2.0)
    assert get(health, "/readyz")[0] == 503 and get(health, "/healthz")[0] == 200
    health.waited_s -= 60.0
    assert get(health, "/healthz")[0] == 503


def test_who_was_told_to_end_does_not_wait_for_kafka_for_long(health, monkeypatch):
    made, told = {}, []
    monkeypatch.setattr("penstock.stream.roles.start.KafkaLog", lambda *given, **named: made.update(named))
    open_log(Settings(), health, lambda: bool(told))
    made["on_wait"](5, 100.0)
    told.append("end")
    made["on_wait"](5, LAST_WAIT_S - 1.0)
    with pytest.raises(AppendFailed, match="told to end"):
        made["on_wait"](5, LAST_WAIT_S)


def test_a_role_is_ready_when_every_condition_holds(health):
    assert get(health, "/readyz")[0] == 503
    health.ready({"assigned": True, "positioned": False})
    assert get(health, "/readyz") == (503, "learn is not ready\nnot positioned\n")
    health.ready({"assigned": True, "positioned": True})
    assert get(health, "/readyz") == (200, "learn is ready\n")
    assert sample(health, "penstock_condition", condition="positioned") == 1
    assert sample(health, "penstock_role_ready") == 1
    health.ready({"assigned": True, "positioned": False})
    assert sample(health, "penstock_role_ready") == 0


def test_another_path_is_not_found(health):
    assert get(health, "/etc/passwd")[0] == 404


def test_the_port_is_free_again_afterwards():
    with Health("learn") as page:
        port = page.port
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        assert taken.getsockname()[1] == port


def test_a_taken_port_is_an_error_at_once(health):
    with pytest.raises(OSError), Health("learn", port=health.port):
        pass


def test_two_pages_count_for_themselves():
    one, other = Health("featurize"), Health("featurize")
    one.samples.inc()
    assert sample(other, "penstock_samples_total") == 0


def test_reasons_of_dead_letters_are_bounded(featurize):
    health = featurize
    health.dead("event time 1234 is more than 1d behind")
    health.dead("event time 99 is more than 1d behind", 2)
    assert sample(health, "penstock_dead_letters_total", reason="event time N is more than Nd behind") == 3
    for number in range(10 * MOST_REASONS):
        health.dead("field " + "x" * (number % 60) + "y" * (number // 60))
    [family] = health.dead_letters.collect()
    assert len({one.labels["reason"] for one in family.samples}) == MOST_REASONS + 1


def test_growth_survives_a_number_that_starts_over():
    growth = Growth()
    assert [growth.of("a", value) for value in (3, 3, 5, 1, 4)] == [3, 0, 2, 1, 3]


def member(positions: dict[Any, int], ends: dict[Any, int]) -> SimpleNamespace:
    return SimpleNamespace(positions=lambda: positions, high_watermarks=lambda: ends)


def test_a_featurize_worker_is_reported(featurize):
    health = featurize
    counts = SimpleNamespace(
        items=10, samples=6, labels=4, dead_letters={"null value": 2}, late={"departures": 3}, before={"departures": 0},
        entities={0: 5}, defaults={0: 4},
    )  # fmt: skip
    view = SimpleNamespace(name="airport", numeric=("delay_3h", "landed_1h"))
    task = SimpleNamespace(
        featurize=SimpleNamespace(counts=counts, pipeline=SimpleNamespace(views=[view])),
        newest={(0, 0): 5_000},
        rebuilding_from=None,
        sources=[SimpleNamespace(name="departures")],
        decoders=[SimpleNamespace(out_of_order=9)],
    )
    worker: Any = SimpleNamespace(
        tasks={"all": task},
        assigned=(("departures", 0),),
        retry_at_ms=0,
        schemas=None,
        expiries={"all": SimpleNamespace(deleted={"airport": 4})},
        committed={("departures", 0): 7},
        member=member(
            {("departures", 0): 7, ("departures", 1): 0}, {("departures", 0): 17, ("departures", 1): 5}
        ),
    )
    report = FeaturizeReport(health)
    report.batch(worker)
    counts.samples = 8
    report.batch(worker)
    assert sample(health, "penstock_samples_total") == 8
    assert sample(health, "penstock_lag_records", topic="departures") == 15
    assert sample(health, "penstock_newest_event_timestamp_seconds") == 5
    assert sample(health, "penstock_position", topic="departures", partition="0") == 7
    assert sample(health, "penstock_dead_letters_total", reason="null value") == 2
    assert sample(health, "penstock_late_records_total", source="departures") == 3
    assert sample(health, "penstock_out_of_order_records_total", source="departures") == 9
    assert sample(health, "penstock_entities_first_seen_total", view="airport") == 5
    assert sample(health, "penstock_defaults_served_total", view="airport") == 8, "two values a sample"
    assert sample(health, "penstock_states_expired_total", view="airport") == 4
    assert sample(health, "penstock_turns_total") == 2
    assert get(health, "/readyz")[0] == 200


def test_a_worker_without_partitions_is_not_ready(featurize):
    health = featurize
    worker: Any = SimpleNamespace(
        tasks={}, assigned=(), retry_at_ms=0, committed={}, expiries={}, member=member({}, {}), schemas=None
    )
    FeaturizeReport(health).batch(worker)
    assert get(health, "/readyz")[0] == 503


def fold(**fields: Any) -> SimpleNamespace:
    zeros = dict.fromkeys(
        (
            "samples",
            "labels",
            "joined",
            "learned",
            "held_back",
            "expired",
            "absent",
            "corrected",
            "unmatched",
            "duplicates",
            "contradictions",
            "dropped",
            "repeats",
            "failed",
            "asked",
            "taught",
            "leads",
        ),  # fmt: skip
        0,
    )
    counts = SimpleNamespace(**{**zeros, "live_loss": 0.0, "base_loss": 0.0, **fields.pop("counts", {})})
    recipes = SimpleNamespace(foreign=False)
    drift = SimpleNamespace(hold=None, episodes=SimpleNamespace(open=fields.pop("open", [])), severities={})
    return SimpleNamespace(
        **{
            "counts": counts,
            "pending": {},
            "at": 0,
            "position": 0,
            "drift": drift,
            "open_jobs": {},
            "recipes": recipes,
            "experts": Experts(None, "v0", 6),
            "measures": lambda: {"mae": 12.5},
            "triggers": RetrainTriggers(parcels(), FoldCounts(), {}),
            **fields,
        }
    )


def test_a_learn_worker_is_reported_and_restored_counts_are_not_counted_twice(health):
    worker: Any = SimpleNamespace(
        fold=fold(
            counts={
                "samples": 900,
                "learned": 800,
                "failed": 5,
                "asked": 4_500,
                "taught": 2_400,
                "leads": 11,
                "live_loss": 100.0,
            },
            position=2_000,
            pending={"a": 1},
        ),
        topic="flights.samples",
        unreadable=0,
        parts=SimpleNamespace(seconds={"decode": 0.5, "fold": 3.0}),
        assigned=True,
        retry_at_ms=0,
        wall_ms=lambda: 1,
        member=member({("flights.samples", 0): 2_000}, {("flights.samples", 0): 2_010}),
        publisher=SimpleNamespace(registered=4, failures=0),
    )
    report = LearnReport(health)
    report.batch(worker)
    worker.publisher = SimpleNamespace(registered=4, failures=2)
    worker.fold.counts.samples, worker.fold.counts.learned, worker.fold.position = 905, 803, 2_008
    worker.fold.counts.dropped = worker.fold.counts.failed = 7
    worker.fold.counts.asked, worker.fold.counts.taught, worker.fold.counts.leads = 4_530, 2_403, 12
    worker.fold.counts.live_loss = 101.5
    worker.parts.seconds["fold"] = 3.25
    report.batch(worker)
    assert sample(health, "penstock_predictions_total") == 5
    assert sample(health, "penstock_model_failures_total") == 2
    assert sample(health, "penstock_labels_total", outcome="learned") == 3
    assert sample(health, "penstock_expert_predictions_total") == 30
    assert sample(health, "penstock_expert_learnings_total") == 3
    assert sample(health, "penstock_lead_changes_total") == 1
    assert sample(health, "penstock_log_loss_nats_total") == 1.5
    assert sample(health, "penstock_measure", figure="mae") == 12.5
    assert sample(health, "penstock_labels_total", outcome="dropped") == 7
    assert sample(health, "penstock_records_total", topic="flights.samples") == 8
    assert sample(health, "penstock_pending_labels") == 1
    assert sample(health, "penstock_lag_records", topic="flights.samples") == 10
    assert sample(health, "penstock_turn_part_seconds_total", part="decode") == 0.5
    assert sample(health, "penstock_turn_part_seconds_total", part="fold") == 3.25
    assert sample(health, "penstock_mlflow_registrations_total", outcome="registered") == 4
    assert sample(health, "penstock_mlflow_registrations_total", outcome="failed") == 2


def test_retrains_are_counted_by_what_set_them_off_and_those_of_a_snapshot_are_not_counted_again(health):
    made = fold()
    made.triggers.started("c1", "schedule", 0, 0)
    worker: Any = SimpleNamespace(
        fold=made,
        topic="flights.samples",
        unreadable=0,
        assigned=True,
        retry_at_ms=0,
        wall_ms=lambda: 1,
        member=member({}, {}),
        publisher=None,
        parts=SimpleNamespace(seconds={}),
    )
    report = LearnReport(health)
    report.batch(worker)
    for trigger in ("schedule", "demand", "demand"):
        made.triggers.started("c2", trigger, 0, 0)
    made.triggers.fired["schedule", "joined"] += 1
    report.look_s = 0.0
    report.batch(worker)
    assert sample(health, "penstock_retrains_total", trigger="schedule") == 1
    assert sample(health, "penstock_retrains_total", trigger="demand") == 2
    assert sample(health, "penstock_retrains_total", trigger="labels") == 0
    assert sample(health, "penstock_retrain_triggers_total", trigger="schedule", outcome="joined") == 1


def test_the_weight_of_each_kind_of_expert_is_shown_and_goes_to_0_with_the_last_of_it(health):
    experts = Experts(None, "v0", 6)
    report = LearnReport(health)
    first = experts.first
    fresh = [experts.add("new", None, name, (0, 0, 0), of=first, halved=True) for name in ("v1", "v2")]
    report._experts(experts)
    assert sample(health, "penstock_experts") == 3, "the base rate is none"
    quarter = sample(health, "penstock_expert_weight_ratio", kind="first")
    assert (
        sample(health, "penstock_expert_weight_ratio", kind="new") == pytest.approx(3 * quarter)
        and quarter > 0.2
    )
    for one in fresh:
        experts.remove(one)
    report._experts(experts)
    assert sample(health, "penstock_experts") == 1
    assert sample(health, "penstock_expert_weight_ratio", kind="new") == 0
    found = [sample(health, "penstock_expert_weight_ratio", kind=kind) for kind in KINDS]
    assert sum(found) == pytest.approx(1.0)


def test_every_kind_of_expert_has_words():
    assert set(KINDS) == set(get_args(Kind))


def test_episodes_are_counted_by_kind_and_state(health):
    episode = SimpleNamespace(monitor="harm", subject="loss", state="suspected", sequence=1)
    report = LearnReport(health)
    report._episodes([episode], {})
    report._episodes([episode], {})
    assert sample(health, "penstock_episodes_open", kind="harm", severity="untold") == 1
    episode.state, episode.sequence = "firing", 2
    report._episodes([episode], {("harm", "loss"): "critical", ("harm", "gone"): "warning"})
    assert sample(health, "penstock_episodes_open", kind="harm", severity="untold") == 0
    assert sample(health, "penstock_episodes_open", kind="harm", severity="critical") == 1
    report._episodes([], {})
    for state in ("suspected", "firing", "resolved"):
        assert sample(health, "penstock_episode_transitions_total", kind="harm", state=state) == 1
    assert sample(health, "penstock_episodes_open", kind="harm", severity="critical") == 0


def test_a_worker_that_becomes_a_spare_tells_nothing_of_what_another_has_taken_over(health):
    episode = SimpleNamespace(monitor="harm", subject="loss", state="firing", sequence=1)
    worker: Any = SimpleNamespace(
        fold=fold(open=[episode], pending={"a": 1}),
        topic="flights.samples",
        unreadable=0,
        parts=SimpleNamespace(seconds={}),
        assigned=True,
        retry_at_ms=0,
        wall_ms=lambda: 1,
        member=member({("flights.samples", 0): 3}, {("flights.samples", 0): 10}),
        publisher=None,
    )
    worker.fold.drift.severities = {("harm", "loss"): "critical"}
    worker.fold.drift.hold = "by command"
    report = LearnReport(health)
    report.batch(worker)
    watched = {
        "penstock_episodes_open": {"kind": "harm", "severity": "critical"},
        "penstock_model_held": {},
        "penstock_pending_labels": {},
        "penstock_lag_records": {"topic": "flights.samples"},
    }
    assert [sample(health, name, **labels) for name, labels in watched.items()] == [1, 1, 1, 7]
    worker.fold, worker.assigned, worker.member = None, False, member({}, {})
    report.look_s = 0.0
    report.batch(worker)
    assert [sample(health, name, **labels) for name, labels in watched.items()] == [0, 0, 0, 0]
    assert sample(health, "penstock_role_ready") == 0
