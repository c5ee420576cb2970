"""A broker that was away, or that cannot say something now, is found and asked again."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from kafka import KafkaConsumer
from kafka.errors import KafkaError as ClientError

from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import options
from penstock.stream.log.protocol import LogUnavailable
from penstock.stream.process.settings import Settings

TP_0 = ("cards.paid", 0)
NOW = [KafkaError.KAFKA_STORAGE_ERROR, KafkaError.OFFSET_NOT_AVAILABLE, KafkaError.REPLICA_NOT_AVAILABLE]
AWAY_S = 12.0
LOOKS_BY_ITSELF = 8  # of kafka-python in that time: it waits twice as long each time, up to half a minute


def test_a_client_goes_on_looking_for_a_broker_about_once_a_second() -> None:
    server, looked = socket.create_server(("127.0.0.1", 0)), []

    def refuse() -> None:
        with suppress(OSError):
            while True:
                server.accept()[0].close()
                looked.append(1)

    threading.Thread(target=refuse, daemon=True).start()
    settings = Settings.from_env(
        {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{server.getsockname()[1]}",
            "PENSTOCK_CONNECT_TIMEOUT_S": str(AWAY_S),
        }
    )
    with suppress(ClientError):
        KafkaConsumer(**options(settings)).close()
    server.close()
    assert len(looked) > LOOKS_BY_ITSELF + 1


class Electing:
    """A client to whom the broker says an error so many times before it says an offset."""

    def __init__(self, code: int, times: int) -> None:
        self.error, self.times = KafkaException(KafkaError(code)), times

    def list_offsets(self, wanted: dict[Any, Any], **_: Any) -> dict[Any, Future[Any]]:
        self.times -= 1
        answers: dict[Any, Future[Any]] = {one: Future() for one in wanted}
        for answer in answers.values():
            if self.times >= 0:
                answer.set_exception(self.error)
            else:
                answer.set_result(SimpleNamespace(offset=7))
        return answers

    def list_topics(self, *_: Any, **__: Any) -> None:
        """Nothing is known better by that."""


@pytest.mark.parametrize("code", NOW)
def test_offsets_are_asked_again_while_a_partition_has_no_leader_that_can_say_them(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = KafkaLog("127.0.0.1:1", request_timeout_s=0.5)
    monkeypatch.setattr(log, "_admin", Electing(code, 3))
    assert log.bounds([TP_0]) == {TP_0: (7, 7)}
    monkeypatch.setattr(log, "_admin", Electing(code, 1_000))
    with pytest.raises(
        LogUnavailable, match=r"cannot say the offsets of cards.paid\[0\] now.*see the broker's log"
    ):
        log.bounds([TP_0])
