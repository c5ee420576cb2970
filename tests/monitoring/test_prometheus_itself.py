"""A real Prometheus beside real roles, over a stretch of the demo's year: what is shipped is evaluated, not only read.

`make test-monitoring` runs it. The rules are those that are shipped, with a `for` of seconds, so that a test can wait for it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.examples import flights_publish
from penstock.stream.definition_file import load
from penstock.stream.demo.processes import Role
from penstock.stream.demo.run import create_topics
from penstock.stream.operate.publish import publish
from penstock.stream.process.settings import Settings, child_environment
from penstock.stream.stack import Server, StackError, local_stack
from penstock.stream.stack.server import free_ports
from tests.monitoring.expressions import ROOT, RULES, alerts, panels, selectors
from tests.monitoring.programs import program
from tests.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.skipif(
    not os.environ.get("PENSTOCK_TEST_PROMETHEUS"), reason="it is part of `make test-monitoring`"
)
DEFINITION = ROOT / "examples/flights.py"
QUIET = date(2013, 4, 8), date(2013, 5, 13)
BROKEN = date(2013, 5, 13), date(2013, 5, 16)
ROLES = ("control", "featurize", "learn", "serve")


class Place:
    """The roles on servers of their own, and the Prometheus that scrapes them."""

    def __init__(self, closing: ExitStack, folder: Path) -> None:
        stack = closing.enter_context(local_stack("auto", env={}))
        if stack.kafka is None:
            raise StackError("; ".join(stack.description))
        self.settings = Settings(
            bootstrap=stack.kafka, redis_url=stack.redis_url, secret=secrets.token_hex(32)
        )
        create_topics(load(str(DEFINITION)), self.settings)
        self.environment = child_environment(self.settings)
        self.roles: dict[str, Role] = {}
        for name in ROLES:
            self.roles[name] = Role(name, str(DEFINITION), self.environment, folder)
            closing.callback(self.roles[name].stop)
        for role in self.roles.values():
            role.wait_ready()
        self.prometheus, self.address = self.started(folder)
        closing.callback(self.prometheus.close)
        self.published = 0

    def started(self, folder: Path) -> tuple[Server, str]:
        """Prometheus with the rules as they are shipped, but for how long an alert must hold."""
        rules = yaml.safe_load(RULES.read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule["for"] = "3s"
        (folder / "rules.yml").write_text(yaml.safe_dump(rules))
        targets = [f"127.0.0.1:{role.port}" for role in self.roles.values()]
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": [{"job_name": "penstock", "static_configs": [{"targets": targets}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_ports(1)[0]}"
        own = Path(tempfile.mkdtemp(prefix="penstock-prometheus-"))
        command = [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={own / 'data'}",
            f"--web.listen-address={address}",
        ]

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://{address}/-/ready", timeout=PATIENCE_S) as page:
                    return bool(page.status == 200)
            except OSError:
                return False

        server = Server("prometheus", command, own, answers)
        server.start()
        return server, address

    def asked(self, path: str, **query: str) -> Any:
        """What Prometheus' API says."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as page:
            return json.load(page)["data"]

    def values(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """An expression as of now."""
        found = self.asked("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def fired(self) -> set[str]:
        """The alerts that have fired since Prometheus began."""
        found = self.values('group by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))')
        return {labels["alertname"] for labels, _ in found}

    def play(self, records: Iterable[flights_publish.Raw]) -> None:
        """Publish, and wait until Prometheus has seen that all of it was learned."""
        self.published += publish(records, self.settings).records
        seen = f'sum(penstock_records_total{{topic="sources"}}) >= {self.published}'
        behind = "sum(penstock_lag_records) < 20"
        assert eventually(lambda: bool(self.values(f"({seen}) and ({behind})")))

    def ask(self, count: int) -> None:
        """Predictions on request."""
        served = f"http://127.0.0.1:{self.roles['serve'].port}/v1/pipelines/flights:predict"
        departures = (
            one for one in flights_publish.records("none", *BROKEN) if one.topic.endswith("departures")
        )
        for _, one in zip(range(count), departures, strict=False):
            request = urllib.request.Request(served, one.value, {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                assert answer.status == 200


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    program("prometheus")
    with ExitStack() as closing:
        try:
            made = Place(closing, tmp_path_factory.mktemp("roles"))
        except StackError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield made


def test_a_quiet_stretch_fires_nothing_and_every_panel_has_data(place: Place) -> None:
    place.ask(20)
    place.play(flights_publish.records("none", *QUIET, malformed_seed=2013))
    place.ask(20)
    assert eventually(
        lambda: bool(place.values('rate(penstock_request_duration_seconds_count{outcome="ok"}[1m]) > 0'))
    )
    empty = [where for where, expression in panels().items() if not place.values(put_in(expression))]
    assert not empty, f"no data: {empty}"
    assert place.fired() == set()


def test_the_incident_fires_its_alert_and_no_other(place: Place) -> None:
    place.play(flights_publish.records("milliseconds", *BROKEN))
    assert eventually(lambda: bool(place.fired()))
    assert place.fired() == {"PenstockCriticalEpisode"}
    ((labels, _),) = place.values('ALERTS{alertname="PenstockCriticalEpisode",alertstate="firing"}')
    assert (labels["pipeline"], labels["role"], labels["kind"]) == ("flights", "learn", "range")


def test_every_rule_is_evaluated_and_reads_series_that_are_there(place: Place) -> None:
    rules = [rule for group in place.asked("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {*alerts()}
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    for name, rule in alerts().items():
        for series, matched in selectors(rule["expr"]):
            # nothing failed: no request has such an outcome
            there = {label: value for label, value in matched.items() if "429" not in value}
            asked = ",".join(label + value for label, value in there.items())
            assert place.values(f"{series}{{{asked}}}"), f"{name}: {series}{{{asked}}}"


def test_a_broken_producer_a_hold_and_a_killed_role_fire_theirs(place: Place) -> None:
    place.play(flights_publish.malformed(7, 3_000))
    assert eventually(lambda: "PenstockDeadLetters" in place.fired())
    told = [sys.executable, "-m", "penstock.stream.cli", "hold", "flights", "--reason", "trying the alerts"]
    subprocess.run(told, env=place.environment, check=True, capture_output=True)
    assert eventually(lambda: "PenstockLearningHeld" in place.fired())
    place.roles["learn"].child.send_signal(signal.SIGKILL)
    assert eventually(lambda: "PenstockRoleAbsent" in place.fired())
    assert place.fired() == {
        "PenstockCriticalEpisode",
        "PenstockDeadLetters",
        "PenstockLearningHeld",
        "PenstockRoleAbsent",
    }
    found = place.values('ALERTS{alertname="PenstockRoleAbsent",alertstate="firing"}')
    assert [(labels["pipeline"], labels["role"]) for labels, _ in found] == [("flights", "learn")]


def put_in(expression: str) -> str:
    """An expression with Grafana's variables put in."""
    assert not re.search(r"\$(?!pipeline|__rate_interval)", expression)
    return expression.replace("$__rate_interval", "1m").replace("$pipeline", "flights")
