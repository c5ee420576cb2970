"""The alerts, by `promtool test rules`: each fires in its incident and no other does; none fires where nothing is wrong."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.expressions import ROOT, RULES, alerts
from tests.monitoring.programs import program

pytestmark = pytest.mark.long

BROKE = 3 * 60
"""The minute at which an incident begins; every minute has a sample."""
LAST = BROKE + 9 * 60

Series = dict[str, str]
ROLES = ("featurize", "learn", "control", "serve")


def steady(value: float) -> str:
    return f"{value:g}x{LAST}"


def growing(per_minute: float, before: float | None = None) -> str:
    """A counter that grows so fast from the incident on, and before it so (None: the same)."""
    if before is None:
        return f"0+{per_minute:g}x{LAST}"
    return f"0+{before:g}x{BROKE} {before * BROKE + per_minute:g}+{per_minute:g}x{LAST - BROKE}"


def turns(to: float, before: float = 0.0) -> str:
    """A gauge that changes as the incident begins."""
    return f"{before:g}x{BROKE} {to:g}x{LAST - BROKE}"


def of(role: str, name: str, labels: str = "", instance: str = "") -> str:
    more = f",{labels}" if labels else ""
    return f'penstock_{name}{{job="penstock",instance="{instance or role}:9100"{more}}}'


def info(role: str, instance: str = "") -> str:
    return of(role, "build_info", f'pipeline="flights",role="{role}",version="1",python="3.11"', instance)


def quiet() -> Series:
    """A pipeline that works: 6,000 records and 1,000 predictions a minute, some dead letters, something moved, nothing lost."""
    series: Series = {}
    for role in ROLES:
        series[info(role)] = steady(1)
        series[of(role, "role_ready")] = steady(1)
        series[of(role, "turns_total")] = growing(60)
    for role, topic in (("featurize", "sources"), ("learn", "flights.samples")):
        series[of(role, "records_total", f'topic="{topic}"')] = growing(6_000)
        series[of(role, "lag_records", f'topic="{topic}"')] = steady(5)
        series[of(role, "newest_event_timestamp_seconds")] = growing(60)
    series[of("featurize", "dead_letters_total", 'reason="null value"')] = growing(2)
    series[of("learn", "predictions_total")] = growing(1_000)
    series[of("learn", "labels_total", 'outcome="joined"')] = growing(900)
    series[of("learn", "log_loss_nats_total")] = growing(300)
    series[of("learn", "base_log_loss_nats_total")] = growing(500)
    series[of("learn", "model_held")] = steady(0)
    for kind, severity, number in (
        ("range", "critical", 0),
        ("psi", "info", 3),
        ("harm", "warning", 1),
        ("adwin", "untold", 1),
    ):
        series[of("learn", "episodes_open", f'kind="{kind}",severity="{severity}"')] = steady(number)
    series[of("control", "requests_waiting")] = steady(0)
    for le, share in (("0.005", 0.97), ("0.1", 0.999), ("+Inf", 1.0)):
        name = of("serve", "request_duration_seconds_bucket", f'outcome="ok",le="{le}"')
        series[name] = growing(600 * share)
    series[of("serve", "request_duration_seconds_count", 'outcome="ok"')] = growing(600)
    series[of("serve", "request_duration_seconds_count", 'outcome="422"')] = growing(100)
    return series


def gone(role: str) -> Series:
    """A process that ends as the incident begins."""
    values = {name: value for name, value in quiet().items() if f'instance="{role}:9100"' in name}
    return {name: f"{value.split('x')[0]}x{BROKE} stale" for name, value in values.items()}


def spare(ready: float) -> Series:
    """A second learn process beside the one that works."""
    return {
        info("learn", "spare"): steady(1),
        of("learn", "role_ready", instance="spare"): steady(ready),
        of("learn", "turns_total", instance="spare"): growing(60),
        of("learn", "lag_records", 'topic="flights.samples"', "spare"): steady(0),
    }


#: What changes against the quiet series, which alerts then fire, and by which minute of the incident; a minute before that, none.
INCIDENTS: dict[str, tuple[Series, set[str], int, int]] = {
    "learn ends": (gone("learn"), {"PenstockRoleAbsent"}, 3, 1),
    "serve ends": (gone("serve"), {"PenstockRoleAbsent"}, 3, 1),
    "learn and its spare lose Kafka": (
        {
            of("learn", "role_ready"): turns(0, 1),
            **spare(0),
        },
        {"PenstockNoLeader"},
        6,
        4,
    ),
    "learn takes nothing": (
        {
            of("learn", "records_total", 'topic="flights.samples"'): growing(0, 6_000),
            of("learn", "lag_records", 'topic="flights.samples"'): turns(80_000, 10),
        },
        {"PenstockStuck"},
        17,
        13,
    ),
    "control's loop hangs": (
        {of("control", "turns_total"): growing(0, 60)},
        {"PenstockStuck"},
        17,
        13,
    ),
    "no events come": (
        {
            of(role, "newest_event_timestamp_seconds"): growing(0, 60)
            for role in ("featurize", "learn")
        },
        {"PenstockEventsOld"},
        8 * 60 + 12,
        8 * 60 + 8,
    ),
    "featurize is too slow": (
        {
            of("featurize", "records_total", 'topic="sources"'): growing(3_000, 6_000),
            of("featurize", "lag_records", 'topic="sources"'): turns(90_000, 10),
        },
        {"PenstockBehind"},
        28,
        14,
    ),
    "a producer breaks": (
        {of("featurize", "dead_letters_total", 'reason="null value"'): growing(300, 2)},
        {"PenstockDeadLetters"},
        12,
        4,
    ),
    "a guard fires and learning is held": (
        {
            of("learn", "episodes_open", 'kind="range",severity="critical"'): turns(1),
            of("learn", "model_held"): turns(1),
        },
        {"PenstockCriticalEpisode", "PenstockLearningHeld"},
        32,
        0,
    ),
    "a critical episode opens": (
        {of("learn", "episodes_open", 'kind="range",severity="critical"'): turns(1)},
        {"PenstockCriticalEpisode"},
        3,
        0,
    ),
    "the model is worse than nothing": (
        {of("learn", "log_loss_nats_total"): growing(900, 300)},
        {"PenstockWorseThanBaseRate"},
        90,
        10,
    ),
    "nobody answers a request": (
        {of("control", "requests_waiting"): turns(1)},
        {"PenstockRequestWaits"},
        62,
        58,
    ),
    "serve has no models": ({of("serve", "role_ready"): turns(0, 1)}, {"PenstockServeNotReady"}, 4, 1),
    "serve is away from Redis": (
        {of("serve", "request_duration_seconds_count", 'outcome="503"'): growing(60, 0)},
        {"PenstockServeErrors"},
        12,
        3,
    ),
    "serve is slow": (
        {
            of("serve", "request_duration_seconds_bucket", 'outcome="ok",le="0.1"'): growing(300, 599.4),
            of("serve", "request_duration_seconds_bucket", 'outcome="ok",le="0.005"'): growing(10, 582),
            of("serve", "request_duration_seconds_bucket", 'outcome="ok",le="0.25"'): growing(600),
        },
        {"PenstockServeSlow"},
        25,
        3,
    ),
}  # fmt: skip

#: What looks odd and is right.
HARMLESS: dict[str, Series] = {
    "nothing happens": {},
    "a spare waits for its turn": spare(0),
    "the console is away from Kafka": {
        info("console").replace('pipeline="flights"', 'pipeline=""'): steady(1),
        of("console", "role_ready"): steady(0),
        of("console", "turns_total"): steady(0),
    },
    "old events are played again": {
        of(role, "newest_event_timestamp_seconds"): f"_x{9 * 60} 100+75x{LAST - BROKE}"
        for role in ("featurize", "learn")
    },
    "there is little to do at night": {
        of("learn", "predictions_total"): growing(0, 1_000),
        of("learn", "labels_total", 'outcome="joined"'): growing(0, 900),
        of("learn", "log_loss_nats_total"): growing(0, 300),
        of("learn", "base_log_loss_nats_total"): growing(0, 500),
        of("featurize", "records_total", 'topic="sources"'): growing(0, 6_000),
        of("featurize", "lag_records", 'topic="sources"'): steady(0),
        of("featurize", "dead_letters_total", 'reason="null value"'): growing(0, 2),
        of("serve", "request_duration_seconds_count", 'outcome="ok"'): growing(0, 600),
    },
    "one record is no letter": {
        of("featurize", "records_total", 'topic="sources"'): growing(1, 1),
        of("featurize", "lag_records", 'topic="sources"'): steady(0),
        of("featurize", "dead_letters_total", 'reason="null value"'): growing(0.5, 0.1),
    },
    "no label is ever declared": {
        of("learn", "labels_total", 'outcome="joined"'): steady(0),
        of("learn", "log_loss_nats_total"): steady(0),
        of("learn", "base_log_loss_nats_total"): steady(0),
    },
    "requests are wrong": {
        of("serve", "request_duration_seconds_count", 'outcome="422"'): growing(600, 0),
    },
}


def firing(folder: Path, series: Series, expected: dict[int, set[str]], interval: str = "1m") -> None:
    """Ask promtool whether exactly these alerts fire at these minutes."""
    fired = [
        {
            "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
        }
        for minute, names in expected.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": interval, "input_series": given, "promql_expr_test": fired}
    run(folder, {"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": [test]})


def run(folder: Path, tests: dict[str, Any]) -> None:
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(tests))
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("incident", INCIDENTS)
def test_an_incident_fires_its_alert_in_time_and_no_other(incident: str, tmp_path: Path) -> None:
    series, names, by, not_before = INCIDENTS[incident]
    firing(tmp_path, {**quiet(), **series}, {BROKE - 1: set(), BROKE + not_before: set(), BROKE + by: names})


def in_one_process(series: Series) -> Series:
    """The same where one process runs every role but serve, and those of a pipeline without incidents beside."""
    found: Series = {}
    for name, values in series.items():
        role = re.findall(r'instance="(\w+):9100"', name)[0]
        if role not in ("control", "featurize", "learn"):
            found[name] = values
            continue
        for pipeline, given in (("flights", values), ("cards", quiet().get(name))):
            if given is not None:
                part = f'instance="all:9100",process_part="{pipeline}/{role}"'
                renamed = name.replace(f'instance="{role}:9100"', part)
                found[renamed.replace('pipeline="flights"', f'pipeline="{pipeline}"')] = given
    whole = info("all").replace('pipeline="flights"', 'pipeline="flights,cards"')
    return {
        **found,
        whole: steady(1),
        of("all", "role_ready"): steady(1),
        of("all", "turns_total"): growing(60),
    }


@pytest.mark.parametrize("incident", INCIDENTS)
def test_an_incident_fires_the_same_where_one_process_runs_several_pipelines(
    incident: str, tmp_path: Path
) -> None:
    series, names, by, not_before = INCIDENTS[incident]
    given = in_one_process({**quiet(), **series})
    firing(tmp_path, given, {BROKE - 1: set(), BROKE + not_before: set(), BROKE + by: names})


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_right_fires_nothing(case: str, tmp_path: Path) -> None:
    minutes = [30, BROKE - 1, *range(BROKE + 5, LAST - 60, 45)]
    firing(tmp_path, {**quiet(), **HARMLESS[case]}, {minute: set() for minute in minutes})


def test_labels_that_stop_are_missed_within_half_a_day_and_no_morning_is_taken_for_it(
    tmp_path: Path,
) -> None:
    """Flights leave from 6 to 22 h and have their labels three hours later; on the fourth day at noon the labels stop."""
    quarters, stop, learn = range(4 * 96), 3 * 96 + 48, 'outcome="joined"'
    made = [sum(240 for one in quarters[:until] if 24 <= one % 96 < 88) for until in quarters]
    came = [made[max(min(until, stop) - 12, 0)] for until in quarters]
    series = {
        info("learn"): f"1x{len(quarters)}",
        of("learn", "predictions_total"): " ".join(map(str, made)),
        of("learn", "labels_total", learn): " ".join(map(str, came)),
    }
    quiet_until = {quarter * 15: set[str]() for quarter in range(8, stop + 1, 2)}
    firing(tmp_path, series, {**quiet_until, (4 * 96 - 1) * 15: {"PenstockLabelsFell"}}, "15m")


def test_every_alert_has_its_incident() -> None:
    with_incident = {name for _, names, _, _ in INCIDENTS.values() for name in names}
    assert with_incident | {"PenstockLabelsFell"} == {*alerts()}, "that one has a test of its own"


def test_an_alert_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    labels = {"job": "penstock", "instance": "learn:9100", "pipeline": "flights", "role": "learn"}
    said = {
        "summary": "flights: 1 critical episode of kind range is open",
        "description": "More is at stake than the margin, or nothing is learned. `penstock status flights` tells the story.",
        "runbook_url": "https://docs.example/penstock/how-to/monitor.html#penstockcriticalepisode",
        "dashboard": "/d/penstock-pipeline?var-pipeline=flights",
    }
    series = {**quiet(), of("learn", "episodes_open", 'kind="range",severity="critical"'): turns(1)}
    found = {"exp_labels": {**labels, "severity": "critical", "kind": "range"}, "exp_annotations": said}
    test = {
        "interval": "1m",
        "external_labels": {"docs_url": "https://docs.example/penstock"},
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{BROKE + 3}m", "alertname": "PenstockCriticalEpisode", "exp_alerts": [found]}
        ],
    }
    run(tmp_path, {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]})


def test_every_alert_names_its_severity_and_leads_to_its_runbook() -> None:
    page = (ROOT / "docs/pages/how-to/monitor.md").read_text()
    for name, rule in alerts().items():
        assert re.fullmatch(r"Penstock([A-Z][a-z]+)+", name)
        assert rule["labels"] == {"severity": rule["labels"]["severity"]}
        assert rule["labels"]["severity"] in ("critical", "warning") and rule["for"]
        said = rule["annotations"]
        assert {*said} == {"summary", "description", "runbook_url", "dashboard"}
        path, _, anchor = said["runbook_url"].partition("#")
        assert path == "{{ $externalLabels.docs_url }}/how-to/monitor.html" and anchor == name.lower()
        assert f"### {name}\n" in page, f"docs/pages/how-to/monitor.md has no section {name}"
