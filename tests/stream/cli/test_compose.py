"""docker-compose.yml, read without Docker: every role gets the user's own definition file, mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.stream import cli

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[3]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = ("topics", "featurize", "learn", "control")


@pytest.mark.parametrize("name", OURS)
def test_each_role_reads_the_mounted_definition_and_a_command_that_is_understood(name: str) -> None:
    service = SERVICES[name]
    [mount] = [one for one in service["volumes"] if one["target"] == "/definitions"]
    assert mount["source"] == "${DEFINITIONS:-./examples}" and mount["read_only"] is True
    assert service["command"][1] == "/definitions/${PIPELINE:-flights.py}"
    assert (ROOT / "examples" / "flights.py").is_file()
    args = cli.parser(service["command"][0]).parse_args(service["command"])
    assert args.file == service["command"][1]


@pytest.mark.parametrize("name", ("featurize", "learn", "control"))
def test_model_versions_outlive_a_container(name: str) -> None:
    assert {"type": "volume", "source": "models", "target": "/models"} in SERVICES[name]["volumes"]
