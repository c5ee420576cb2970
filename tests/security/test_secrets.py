"""Secrets of the environment are shown nowhere: not in settings as text, not in help, not by commands that fail."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.stream import cli
from penstock.stream.flink.settings import JobSettings
from penstock.stream.models.version import Keys
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.roles import start
from penstock.stream.serve.limits import Limits
from penstock.stream.stack.local import local_stack
from penstock.stream.stack.server import free_ports
from tests.patience import PATIENCE_S
from tests.rights.conftest import DEFINITION

NAMES = (
    "REDIS_URL", "PENSTOCK_SECRET", "PENSTOCK_SECRETS_FORMER", "PENSTOCK_SERVE_TOKENS", "PENSTOCK_KAFKA_SASL_PASSWORD",
    "PENSTOCK_KAFKA_SSL_KEY_PASSWORD", "PENSTOCK_SCHEMA_REGISTRY_PASSWORD", "PENSTOCK_SCHEMA_REGISTRY_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
)  # fmt: skip


class Planted:
    """An environment in which every secret setting has a value of its own."""

    def __init__(self) -> None:
        self.secret = {name: secrets.token_hex(10) for name in NAMES}
        port, other = free_ports(2)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self.environment = clean | self.secret
        self.environment |= {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
            "REDIS_URL": f"redis://mia:{self.secret['REDIS_URL']}@127.0.0.1:{other}/0",
            "PENSTOCK_CONNECT_TIMEOUT_S": "0.5",
            "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "PENSTOCK_KAFKA_SASL_MECHANISM": "PLAIN",
            "PENSTOCK_KAFKA_SASL_USERNAME": "mia",
        }

    def shown(self, text: str) -> list[str]:
        """The settings whose secrets stand in a text."""
        return [name for name, value in self.secret.items() if value in text]


@pytest.fixture
def planted() -> Planted:
    return Planted()


def test_no_secret_is_in_the_settings_as_text_nor_in_any_help(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_env(planted.environment)
    assert settings.secret in planted.secret.values(), "they are read"
    keys = start.keys(settings)
    job = JobSettings("f", b"", "b", settings.redis_url, "", {}, (), 1, settings.kafka)
    texts = [repr(settings), str(settings), f"{keys}", repr(Limits(tokens=settings.serve_tokens)), repr(job)]
    texts.append(repr(start.with_arguments(settings, port=1, slot="2")))
    for name, value in planted.environment.items():
        monkeypatch.setenv(name, value)
    top = cli.parser()
    texts.append(top.format_help())
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts += [one.format_help() for one in action.choices.values()]
    assert len(texts) > 40 and not planted.shown("\n".join(texts))


def test_keys_are_shown_by_what_tells_nothing_of_them() -> None:
    assert repr(Keys("one", ("two",))) == f"Keys({cli_key('one')}, {cli_key('two')})"


def cli_key(secret: str) -> str:
    """The name of a key, as refusals say it."""
    from penstock.stream.models.version import key_id

    return key_id(secret)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PENSTOCK_MODELS", "ftp://mia:hush@files/models"),
        ("PENSTOCK_MLFLOW", "https://mia:hush@mlflow:5000"),
        ("PENSTOCK_MLFLOW", "https://mia:hu/sh@mlflow:5000"),
        ("PENSTOCK_SCHEMA_REGISTRY_URL", "http://one:8081,http://mia:hush@two:8081"),
    ],
)
def test_an_address_with_a_password_that_logs_would_show_is_refused_and_not_repeated(
    name: str, value: str
) -> None:
    with pytest.raises(SettingError, match=f"{name} holds a password") as refused:
        Settings.from_env({name: value})
    assert "hu" not in str(refused.value).replace("show", "") and "give it" in str(refused.value)


@pytest.mark.parametrize(
    "models", ["s3://bucket/mia@example/models", "abfs://models@account.example/a", "/srv/mia@x:y/models"]
)
def test_an_at_sign_that_is_no_password_is_none(models: str) -> None:
    assert Settings.from_env({"PENSTOCK_MODELS": models}).models == models


def test_a_stack_that_was_given_is_described_without_its_password(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    with local_stack("given", env=planted.environment, progress=print) as stack:
        assert "…@127.0.0.1" in "\n".join(stack.description)
        assert not planted.shown("\n".join(stack.description) + capsys.readouterr().out)


COMMANDS = ("run FILE --role learn --port 0", "topics FILE", "features get card c1 --pipeline cards")
"""By each of the clients: librdkafka, redis-py, kafka-python."""


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_that_fails_shows_no_secret(words: str, planted: Planted, tmp_path: Path) -> None:
    file = tmp_path / "cards.py"
    file.write_text(DEFINITION)
    given = [str(file) if word == "FILE" else word for word in words.split()]
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.stream.cli", *given],
        env=planted.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    line = Path(f"/proc/{process.pid}/cmdline")
    told = line.read_text() if line.exists() else ""
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2 and "penstock: " in said and "127.0.0.1:" in said, said
    assert not planted.shown(said + told)


def test_an_error_that_nobody_expected_shows_no_secret(planted: Planted, tmp_path: Path) -> None:
    """Python's own words for it: lines of programs, not the values in them."""
    file = tmp_path / "cards.py"
    file.write_text(DEFINITION + "\nimport faulthandler, os\nfaulthandler.enable()\nos.abort()\n")
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "penstock.stream.cli", "run", str(file), "--role", "learn"],
        env=planted.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode < 0 and "Fatal Python error" in done.stderr
    assert not planted.shown(done.stdout + done.stderr)
