"""`penstock demo --stay`: its pages can be looked at while it runs, and afterwards until it is told to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.patience import PATIENCE_S, eventually

DEMO = [
    "-m",
    "penstock.stream.cli",
    "demo",
    "--end",
    "2013-01-03",
    "--incident",
    "none",
    "--backend",
    "given",
]


@pytest.fixture
def demo(own_kafka: str, valkey_url: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": own_kafka, "REDIS_URL": valkey_url}
    process = subprocess.Popen(
        [sys.executable, *DEMO, "--stay"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def own_kafka() -> Iterator[str]:
    """A broker without the demo's topics."""
    from penstock.stream.stack import local_stack

    with local_stack("auto", env={}) as stack:
        if stack.kafka is None:
            if os.environ.get("CI"):
                pytest.fail(f"no Kafka: {stack.description}")
            pytest.skip(f"no Kafka: {stack.description}")
        yield stack.kafka


def told(process: subprocess.Popen[str], pattern: str) -> str:
    """What a line of the demo says, once it says it."""
    assert process.stdout is not None
    before = []
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found[1]
        before.append(line)
    raise AssertionError("".join(before))


def page(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError) as error:
        return str(error)


@pytest.mark.long
def test_the_demo_says_where_its_pages_are_and_stays_until_it_is_told_to_stop(
    demo: subprocess.Popen[str],
) -> None:
    address = told(demo, r"pages to look at.*(http://127\.0\.0\.1:\d+/)")
    assert eventually(lambda: "/pipelines/flights" in page(address)), page(address)
    assert told(demo, r"Pages to look at: (http://127\.0\.0\.1:\d+/)") == address
    assert eventually(lambda: "nobody" not in page(address) and "learn<span" in page(address)), page(address)
    demo.send_signal(signal.SIGINT)
    assert demo.stdout is not None
    rest = demo.stdout.read()
    assert demo.wait(PATIENCE_S) == 0, rest
    assert "URLError" in page(address) or "refused" in page(address)
