"""`penstock up` says where everything is, the address of predictions on request included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.stream import cli
from tests.stream.score.test_score import DEFINITION

PORTS = count(41_000)


class Role:
    """A role that runs nowhere."""

    def __init__(self, name: str, file: str, environment: dict[str, str], folder: Path) -> None:
        self.name, self.port = name, next(PORTS)

    def wait_ready(self) -> None:
        """It is."""

    def check(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """It ends."""


@contextmanager
def given(value: Any) -> Iterator[Any]:
    yield value


def test_up_prints_the_address_where_predictions_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "definition.py"
    file.write_text(DEFINITION)
    stack = SimpleNamespace(
        description=["Kafka: here"], kafka="127.0.0.1:1", redis_url="redis://127.0.0.1:2/0"
    )
    here = "penstock.stream.cli.up"
    monkeypatch.setattr(f"{here}.local_stack", lambda **_: given(stack))
    monkeypatch.setattr(f"{here}.Role", Role)
    monkeypatch.setattr(f"{here}.kafka_python.client", lambda *_: given(None))
    monkeypatch.setattr(f"{here}.ensure", lambda admin, topics: None)
    monkeypatch.setattr(f"{here}.start.until_told", lambda: lambda: True)
    assert cli.main(["up", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    pages = {line.split()[0]: line.split()[1] for line in said if line.endswith("/metrics")}
    assert set(pages) >= {"control", "featurize", "learn", "serve"}
    served = pages["serve"].removesuffix("/metrics")
    assert f"predictions on request: {served}/docs" in said
    assert any(line.startswith("  export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1 REDIS_URL=") for line in said)
