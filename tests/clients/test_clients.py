"""Triton's and KServe's own clients of the Open Inference Protocol, unchanged, against a real serve role.

`make test-clients` installs them into an environment of their own, and runs this. Without it all of it is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.features.redis.store import connect
from tests.patience import PATIENCE_S
from tests.serving import Running, payment, serving

PYTHON = os.environ.get("PENSTOCK_TEST_CLIENTS", "")
ASKED = [{name: value for name, value in payment(n).items() if name != "fraud"} for n in (200, 201, 202)]
KINDS = {
    "payment_id": "BYTES", "paid_at": "INT64", "card": "BYTES", "amount": "FP64", "hour": "INT64", "online": "BOOL",
}  # fmt: skip


@pytest.fixture(scope="module")
def served(valkey_url: str) -> Iterator[Running]:
    if not PYTHON:
        pytest.skip(
            "no clients: PENSTOCK_TEST_CLIENTS names the Python that has them, as `make test-clients` does"
        )
    client: redis.Redis = connect(valkey_url)
    client.flushall()
    with serving(client) as made:
        yield made
    client.close()


def by(program: str, served: Running) -> dict[str, Any]:
    """What a client understood."""
    columns = {name: (kind, [event[name] for event in ASKED]) for name, kind in KINDS.items()}
    line = [PYTHON, str(Path(__file__).with_name(program)), str(served.port), "cards"]
    ended = subprocess.run(
        line, check=False, input=json.dumps(columns), capture_output=True, text=True, timeout=PATIENCE_S,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def expected(served: Running) -> list[float]:
    status, said = served.ask("POST", "/v1/pipelines/cards:predict", ASKED)
    assert status == 200
    return [one["prediction"] for one in said["predictions"]]


def test_tritons_client_asks_with_json_and_with_bytes_and_reads_the_metadata(served: Running) -> None:
    found = by("triton.py", served)
    assert found["ready"] == [True, True, True]
    assert found["server"]["name"] == "penstock" and "binary_tensor_data" in found["server"]["extensions"]
    assert {one["name"] for one in found["metadata"]["inputs"]} == KINDS.keys()
    assert found["json"] == found["binary"]
    assert (found["json"]["id"], found["json"]["prediction"]) == ("7", expected(served))
    assert found["json"]["version"] == served.ask("GET", "/v1/pipelines/cards")[1]["model"]["version"]
    assert "field" in found["refused"]


def test_kserves_client_asks_with_json(served: Running) -> None:
    found = by("kserve_sdk.py", served)
    assert found["ready"] == [True, True, True]
    assert (found["json"]["id"], found["json"]["prediction"]) == ("7", expected(served))
