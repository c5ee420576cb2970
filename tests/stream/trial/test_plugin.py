"""The pytest plugin, in a pytest of its own as a user's project has it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.stream.trial.made import Folder, lines, payment

ROOT = Path(__file__).parents[3]
PLUGIN = "penstock.stream.trial.plugin"
TESTS = """\
def test_a_second_payment_is_counted(penstock_flow):
    flow = penstock_flow("cards.py")
    event = {"payment": "p1", "paid_at": 1_700_000_000_000, "card": "c1", "amount": 2, "fraud": False}
    flow.send(event)
    flow.send({**event, "payment": "p2"})
    assert flow.sample("p2")["features"]["card.paid_1h"] == 2


def test_events_give_what_they_gave(penstock_flow):
    penstock_flow.check("cards.py", "events.jsonl", "expected.jsonl")


def test_nothing_leaks(penstock_flow):
    penstock_flow.check("cards.py", "events.jsonl")
"""


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # the plugin by its name and no other: whether this package is installed or not, it is there once
    given = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", *options, "."]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.long
def test_a_project_tests_its_definition_with_the_fixture_and_updates_what_it_expects(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "test_cards.py").write_text(TESTS)
    made = pytest_in(tmp_path, "--penstock-update")
    assert made.returncode == 0 and "3 passed" in made.stdout, made.stdout + made.stderr
    assert [line["sample"] for line in folder.expected()] == ["p1", "p2", "p3"]
    folder.events.write_text(lines([payment(1), payment(2, fraud=True), payment(3, "c2", amount=5)]))
    wrong = pytest_in(tmp_path)
    assert wrong.returncode == 1 and "1 failed, 2 passed" in wrong.stdout
    assert "expected.jsonl:3  sample p3 (events.jsonl:3)" in wrong.stdout
    assert "--penstock-update writes expected.jsonl from what came" in wrong.stdout
    assert "Traceback" not in wrong.stdout


def test_the_plugin_is_installed_with_penstock_and_imports_nothing_heavy() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"penstock": PLUGIN}
    heavy = ("river", "numpy", "confluent_kafka", "redis", "msgspec")
    said = f"import sys, {PLUGIN}; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", said], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert found.stdout.strip() == "[]"
