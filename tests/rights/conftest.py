"""One deployment with its rights for all tests of this folder: a pipeline, its topics, and a log of samples."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from penstock.stream.stack.kafka import java_missing
from tests.patience import PATIENCE_S, eventually
from tests.rights.secured import Deployment, Secured, events, get

PREFIX = "shop."
EVENTS = 6_000
DEFINITION = """
from river import linear_model, preprocessing, tree
from penstock import Label, Pipeline, Source, View, count, mean
payments = Source("cards.payments", id="payment_id", time="paid_at", key="card")
card = View("card", payments, key="card", features=dict(paid_1h=count("1h"), mean_1d=mean("amount", "1d")))
pipeline = Pipeline(
    "cards", [card], payments, Label(payments, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
    preprocessing.StandardScaler() | linear_model.LogisticRegression(), ["amount", "risk"],
    challengers={"tree": tree.HoeffdingTreeClassifier(grace_period=50, delta=1e-3)},
)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the servers, or without being asked for, nothing here runs."""
    why = java_missing() if not os.environ.get("CI") else None
    if not os.environ.get("PENSTOCK_TEST_RIGHTS"):
        why = "takes minutes: `make test-rights` runs it"
    for item in items:
        if why and "tests/rights/" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def servers() -> Iterator[Secured]:
    made = Secured()
    yield made
    made.close()


@pytest.fixture(scope="session")
def deployment(servers: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A pipeline with its rights and topics, and samples of some events in them."""
    file = tmp_path_factory.mktemp("rights") / "cards.py"
    file.write_text(DEFINITION)
    made = Deployment(servers, file, PREFIX)
    made.lines = {form: made.printed(form) for form in ("kafka", "valkey")}
    servers.set_kafka(made.lines["kafka"])
    servers.set_redis(made.lines["valkey"])
    done = made.command("admin", "topics", str(file), "--create-sources", "--partitions", "2")
    assert done.returncode == 0, done.stderr
    made.publish(events(EVENTS))
    featurize = made.start("featurize", "--port", "0")
    address = featurize.address()
    assert eventually(lambda: read_by(address, "sources") >= EVENTS or featurize.process.poll() is not None)
    featurize.process.send_signal(signal.SIGTERM)
    assert featurize.process.wait(PATIENCE_S) == 0, featurize.log.read_text()
    yield made
    made.close()


def read_by(address: str, topic: str) -> float:
    """How many records of a topic a role has worked on."""
    found = re.search(rf'penstock_records_total{{topic="[^"]*{topic}"}} (\S+)', get(address, "/metrics")[1])
    return float(found[1]) if found else 0.0
