"""docker-compose.yml, read without Docker: every role gets the user's own definition file, mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.stream import cli

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[3]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ROLES = ("featurize", "learn", "control", "challenge", "serve", "console")
OURS = ("topics", *ROLES)


@pytest.mark.parametrize("name", OURS)
def test_each_role_reads_the_mounted_definition_and_a_command_that_is_understood(name: str) -> None:
    service = SERVICES[name]
    [mount] = [one for one in service["volumes"] if one["target"] == "/definitions"]
    assert mount["source"] == "${DEFINITIONS:-./examples}" and mount["read_only"] is True
    assert service["command"][1] == "/definitions/${PIPELINE:-flights.py}"
    assert (ROOT / "examples" / "flights.py").is_file()
    args = cli.parser(service["command"][0]).parse_args(service["command"])
    given = args.files if service["command"][0] == "run" else [args.file]
    assert given == [service["command"][1]]


@pytest.mark.parametrize("name", ROLES)
def test_model_versions_outlive_a_container(name: str) -> None:
    assert {"type": "volume", "source": "models", "target": "/models"} in SERVICES[name]["volumes"]


def test_there_is_a_service_for_each_role_and_race_and_serve_run_only_where_they_are_asked_for() -> None:
    commands = {name: one["command"] for name, one in SERVICES.items() if "command" in one}
    run = {name: command for name, command in commands.items() if command[0] == "run"}
    assert {name: command[command.index("--role") + 1] for name, command in run.items()} == dict(
        zip(ROLES, ROLES, strict=True)
    )
    asks = next(one for one in cli.parser("run")._actions if isinstance(one.choices, dict)).choices["run"]
    role = next(one for one in asks._actions if one.dest == "role")
    assert set(role.choices) == {*ROLES, "all"}  # which is for where compose is too much
    assert [name for name in ROLES if "profiles" in SERVICES[name]] == ["challenge", "serve"]
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert len(set(published)) == len(published)
