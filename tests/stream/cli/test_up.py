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
from penstock.stream.definition_file import load
from penstock.stream.demo import processes
from penstock.stream.stack.server import free_ports
from tests.stream.score.test_score import DEFINITION

PORTS = count(41_000)


class Role:
    """A role that runs nowhere."""

    def __init__(self, name: str, file: str, environment: dict[str, str], folder: Path) -> None:
        self.name, self.port = name, next(PORTS)

    def wait_ready(self, **_: Any) -> bool:
        """It is."""
        return True

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
    monkeypatch.delenv("PENSTOCK_SECRET", raising=False)
    assert cli.main(["up", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    pages = {line.split()[0]: line.split()[1] for line in said if line.endswith("/metrics")}
    assert set(pages) >= {"control", "featurize", "learn", "serve"}
    served = pages["serve"].removesuffix("/metrics")
    assert f"predictions on request: {served}/docs" in said
    assert any(line.startswith("  export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1 REDIS_URL=") for line in said)


def test_the_servers_alone_are_started_with_or_without_a_pipelines_topics_and_their_addresses_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "definition.py"
    file.write_text(DEFINITION)
    stack = SimpleNamespace(description=[], kafka="127.0.0.1:1", redis_url="redis://127.0.0.1:2/0")
    here = "penstock.stream.cli.up"
    created: list[str] = []
    monkeypatch.setattr(f"{here}.local_stack", lambda **_: given(stack))
    monkeypatch.setattr(f"{here}.Role", None)  # none is begun
    monkeypatch.setattr(f"{here}.kafka_python.client", lambda *_: given(None))
    monkeypatch.setattr(f"{here}.ensure", lambda admin, topics: created.extend(one.name for one in topics))
    monkeypatch.setattr(f"{here}.start.until_told", lambda: lambda: True)
    monkeypatch.delenv("PENSTOCK_SECRET", raising=False)
    assert cli.main(["up", "--servers-only"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "  export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1 REDIS_URL=redis://127.0.0.1:2/0" in said
    assert any(line.startswith("  export PENSTOCK_SECRET=") and len(line) > 60 for line in said)
    assert not created
    assert cli.main(["up", str(file), "--servers-only"]) == 0
    assert {source.name for source in load(file).sources} < set(created), (
        "with a file, its topics are there, too"
    )
    capsys.readouterr()
    assert cli.main(["up"]) == 2
    assert "`penstock up FILE`" in capsys.readouterr().err


def answering(folder: Path, program: str) -> processes.Role:
    """A role whose process is this program; `PORT` in it is the port of its page."""
    role = processes.Role.__new__(processes.Role)
    (role.port,) = free_ports(1)
    processes.Process.__init__(role, "control", ["-c", program.replace("PORT", str(role.port))], {}, folder)
    return role


PAGE = """
from http.server import *
answers = iter([503] * 3)
class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(next(answers, 200))
        self.end_headers()
        self.wfile.write(b"not ready: positioned")
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", PORT), Page).serve_forever()
"""


def test_a_role_that_takes_its_time_is_waited_for_aloud_while_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SAY_S", 0.0)
    role, said = answering(tmp_path, PAGE), list[str]()
    try:
        assert role.wait_ready(say=said.append)
    finally:
        role.stop()
    assert all(line.startswith("waiting for control, ") for line in said)
    assert sum("(not ready: positioned)" in line for line in said) == 3


def test_a_role_that_is_waited_for_in_vain_ends_with_what_to_do(tmp_path: Path) -> None:
    role = answering(tmp_path, "import time; time.sleep(600)")
    try:
        assert not role.wait_ready(stopped=lambda: True), "Ctrl-C ends the waiting"
        with pytest.raises(processes.DemoFailed) as failed:
            role.wait_ready(0.0)
    finally:
        role.stop()
    said = str(failed.value)
    assert said.startswith("control runs, but is not ready after 0 s (its page does not answer yet: ")
    assert said.endswith("give the same command again. It has written nothing yet.") and "urlopen" not in said


def test_a_role_that_ends_before_it_is_ready_is_not_waited_for(tmp_path: Path) -> None:
    for program, why in (
        ("print('bye')", "ended before it was ready"),
        ("raise SystemExit('no')", "exit code 1"),
    ):
        role = answering(tmp_path, program)
        with pytest.raises(processes.DemoFailed, match=why):
            role.wait_ready()
