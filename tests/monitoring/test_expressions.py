"""What panels and alerts ask for is what the roles export: names, labels, and the language."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import make
from penstock.stream.process.metric_list import METRICS
from penstock.stream.process.pages_together import PART
from tests.monitoring.expressions import (
    ROOT,
    alerts,
    dashboards,
    expressions,
    grouped,
    panels,
    selectors,
)
from tests.monitoring.programs import program

EXPORTED = {metric.shown: metric for metric in METRICS}
HISTOGRAMS = {metric.name for metric in METRICS if metric.kind.__name__.endswith("Histogram")}
#: What Prometheus itself adds to every series, and to an alert; and what the page of several roles adds.
OF_TARGET = {"job", "instance", PART}
OF_ALERT = {"alertname", "alertstate", "severity", *OF_TARGET}


def of(name: str) -> Any:
    """The metric that a series belongs to."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    return EXPORTED[base if base in HISTOGRAMS else name]


@pytest.mark.parametrize("where", expressions())
def test_an_expression_names_metrics_and_labels_that_are_exported(where: str) -> None:
    expression = expressions()[where]
    named = selectors(expression)
    assert named or "ALERTS" in expression
    known = set(OF_TARGET)
    for name, matched in named:
        labels = {*of(name).labels, *({"le"} if name.endswith("_bucket") else ())} | OF_TARGET
        assert {*matched} <= labels, f"{where}: {name} has no label { ({*matched} - labels) }"
        known |= labels
    assert grouped(expression) <= known


@pytest.mark.parametrize("where", expressions())
def test_roles_that_an_expression_asks_for_export_what_it_reads(where: str) -> None:
    expression = expressions()[where]
    asked = re.findall(r'penstock_build_info\{[^}]*role="(\w+)"', expression)
    for name, _ in selectors(expression):
        if asked and name != "penstock_build_info":
            assert {*asked} & {*of(name).roles}, f"{where}: no role of {asked} has {name}"


def test_the_values_of_labels_that_are_asked_for_exist() -> None:
    """An expression that asks for a value nobody exports is silent for ever."""
    outcomes = yaml.safe_dump(expressions())
    assert {*re.findall(r'severity=\\?"(\w+)', outcomes)} <= {"critical", "warning", "info", "untold"}
    source = (ROOT / "stream/roles/metrics.py").read_text()
    for outcome in {*re.findall(r'labels_total\{outcome=\\?"(\w+)', outcomes)}:
        assert f'"{outcome}"' in source


def test_promtool_can_read_every_expression_of_every_panel(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:number{number}", "expr": plain(expression)}
        for number, expression in enumerate(panels().values())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and f"{len(rules)} rules found" in done.stdout, done.stdout + done.stderr


def plain(expression: str, pipeline: str = ".*") -> str:
    """An expression with Grafana's variables put in."""
    return expression.replace("$__rate_interval", "1m").replace("$pipeline", pipeline)


def test_prometheus_can_read_its_configuration_with_the_rules() -> None:
    config = ROOT / "deploy/prometheus/prometheus.yml"
    done = subprocess.run(
        [program("promtool"), "check", "config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and f"{len(alerts())} rules found" in done.stdout, done.stdout + done.stderr


def test_the_dashboards_are_those_that_the_script_writes() -> None:
    written = {path.name: path.read_text() for path in make.FOLDER.glob("*.json")}
    assert written == make.dashboards(), "run `python -m deploy.grafana.make`"


def test_a_dashboard_has_a_uid_of_its_own_variables_and_panels_that_do_not_overlap() -> None:
    assert {*dashboards()} == {"penstock-overview", "penstock-pipeline"}
    for dashboard in dashboards().values():
        assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource", "pipeline"]
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            assert panel["datasource"]["uid"] == "${datasource}" and panel["title"] and panel["description"]
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            squares = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not squares & taken
            taken |= squares
            assert all(
                'pipeline=~"$pipeline"' in one["expr"] or "ALERTS" in one["expr"] for one in panel["targets"]
            )
        titles = [panel["title"] for panel in dashboard["panels"]]
        assert len({*titles}) == len(titles)


def test_what_alerts_link_to_is_there() -> None:
    for rule in alerts().values():
        uid = re.fullmatch(
            r"/d/([\w-]+)(\?var-pipeline=\{\{ \$labels\.pipeline \}\})?", rule["annotations"]["dashboard"]
        )
        assert uid and uid[1] in dashboards()


def test_compose_gives_prometheus_and_grafana_the_files_that_are_here() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    names = [name for job in scraped for found in job["dns_sd_configs"] for name in found["names"]]
    roles = [name for name, service in compose.items() if "--role" in service.get("command", ())]
    assert sorted(names) == sorted(roles), "Prometheus looks for every role of the compose file"
    for name in ("prometheus", "grafana"):
        service = compose[name]
        assert service["profiles"] == ["monitoring"]
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), "a pinned version"
        for volume in service["volumes"]:
            assert volume["type"] == "volume" or (ROOT / volume["source"]).exists(), volume
    provided = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/penstock.yml").read_text())
    (path,) = [one["options"]["path"] for one in provided["providers"]]
    assert path in [volume["target"] for volume in compose["grafana"]["volumes"]]
