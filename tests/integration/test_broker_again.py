"""A broker that was killed and has begun again: who asked it before goes on asking."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient

from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.stack.kafka import java_missing, kafka_server
from penstock.stream.stack.server import Server


@pytest.fixture
def broker() -> Iterator[tuple[Server, str]]:
    """A broker that a test may kill."""
    if missing := java_missing():
        pytest.skip(missing)
    server, address = kafka_server(lambda line: None)
    yield server, address
    server.close()


@pytest.mark.long
def test_bounds_are_told_again_by_a_broker_that_leads_anew(broker: tuple[Server, str]) -> None:
    server, address = broker
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics({"events": {"num_partitions": 1}}, wait_for_metadata=True)
    admin.close()
    log = KafkaLog(address)
    log.append([Out("events", b"a", b"1")])
    assert log.bounds([("events", 0)]) == {("events", 0): (0, 1)}
    server.kill()
    server.start()  # the same leader, of a later epoch
    log.append([Out("events", b"a", b"2")])
    assert log.bounds([("events", 0)]) == {("events", 0): (0, 2)}
    log.close()
