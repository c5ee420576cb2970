"""The harness that harms roles, once and short: it ends well, and its JSON says what its table says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.stream.stack.kafka import java_missing
from tests.places import ROOT

pytestmark = pytest.mark.long


@pytest.mark.parametrize("fault", ["kill all", "end featurize: half of state", "redis emptied"])
def test_a_round_of_a_fault_finds_nothing_lost_repeated_or_wrong(fault: str, tmp_path: Path) -> None:
    if missing := java_missing():
        pytest.skip(missing)
    file = tmp_path / "faults.json"
    line = [
        "-m",
        "tests.faults",
        "--records",
        "3000",
        "--planted",
        "no",
        "--only",
        fault,
        "--json",
        str(file),
    ]
    done = subprocess.run([sys.executable, *line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for row in json.loads(file.read_text())["rows"]:
        assert (row["lost"], row["repeated"], row["wrong"]) == (0, 0, 0)
        assert row["rounds"] == 1 and row["injected"] >= 1 and row["records"] > 2_500
