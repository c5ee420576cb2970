"""What the page on serving tells people to type is answered by a real serve role, with the fields that the page shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.features.redis.store import connect
from tests.serving import Running, serving

PAGE = Path("docs/pages/how-to/serve-predictions.md")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PORT = "http://127.0.0.1:8080"


def shown() -> list[tuple[str, str]]:
    """(language, text) of every block."""
    return FENCE.findall(PAGE.read_text())


def commands() -> list[str]:
    """Every curl command, whole."""
    found = []
    for language, text in shown():
        if language == "sh":
            found += [one for one in re.split(r"\n(?=\S)", text.strip()) if one.startswith("curl ")]
    return found


@pytest.fixture(scope="module")
def served(valkey_url: str) -> Iterator[Running]:
    if shutil.which("curl") is None:
        reason = "there is no curl: apt-get install curl"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    client: redis.Redis = connect(valkey_url)
    client.flushall()
    with serving(client) as made:
        yield made
    client.close()


def run(command: str, served: Running) -> Any:
    assert PORT in command
    asked = command.replace(PORT, served.address).replace(
        "curl ", "curl --silent --show-error --fail-with-body ", 1
    )
    ended = subprocess.run(["sh", "-c", asked], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    return json.loads(ended.stdout)


def test_every_curl_command_of_the_page_is_answered(served: Running) -> None:
    found = commands()
    assert len(found) >= 2
    for command in found:
        assert "error" not in run(command, served)


def fields(value: Any, path: str = "") -> set[str]:
    """The paths of all fields of an answer; what a person named, views and columns, is data."""
    if not isinstance(value, dict):
        return {path}
    return {path}.union(*(fields(one, f"{path}.{name}") for name, one in value.items()))


def test_the_answer_that_the_page_shows_is_the_one_that_comes(served: Running) -> None:
    (command,) = (one for one in commands() if ":predict" in one)
    said = run(command, served)
    told = next(
        json.loads(text) for language, text in shown() if language == "json" and '"prediction"' in text
    )
    ages = {path for path in fields(said) | fields(told) if path.startswith(".features.age_ms.")}
    assert fields(told) - ages == fields(said) - ages
    assert said["id"] == told["id"] and said["at"] == told["at"]
