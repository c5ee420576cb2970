"""Sends requests to `control.commands`: the one thing that the console ever writes.

Laws of this file:
- The producer is made with the first request: a console that nobody asks anything needs no right to write.
- What Kafka did not confirm is said to be unconfirmed. Sending the same confirmation again is the same request.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from kafka import KafkaProducer
from kafka.errors import AuthorizationError, KafkaError, KafkaTimeoutError

from penstock.stream.console.posts import CannotAsk
from penstock.stream.log.kafka_python import options
from penstock.stream.messages import OperatorRequest
from penstock.stream.operate.asking import record_of
from penstock.stream.process.settings import Settings

logger = logging.getLogger("penstock.console")


class Asker:
    """Asks, with one producer for all. `look_up` finds the digest of a version that only the store knows, as the commands do."""

    def __init__(
        self,
        settings: Settings,
        look_up: Callable[[OperatorRequest], OperatorRequest] = lambda request: request,
    ) -> None:
        self.settings, self.look_up = settings, look_up
        self._producer: KafkaProducer | None = None
        self._lock = threading.Lock()

    def __call__(self, request: OperatorRequest) -> None:
        """Send a request. Raises `CannotAsk`."""
        try:
            request = self.look_up(request)
        except Exception as error:  # the store's, whatever it is: nothing was sent
            raise CannotAsk(f"Nothing was sent: looking the version up failed ({error}).") from error
        record = record_of(request, self.settings.prefix)
        try:
            sent = self._open().send(record.topic, key=record.key, value=record.value)
            sent.get(self.settings.connect_timeout_s)
        except AuthorizationError as error:
            raise CannotAsk(
                f"Nothing was sent: this console may not write to {record.topic}. Give its Kafka user the right, or use the "
                "command line."
            ) from error
        except KafkaTimeoutError as error:
            raise CannotAsk(
                f"Kafka at {self.settings.bootstrap} did not confirm the request within "
                f"{self.settings.connect_timeout_s:g} seconds. It may have been sent: confirm it again on the same page, which "
                "never does anything twice."
            ) from error
        except KafkaError as error:
            raise CannotAsk(
                f"Kafka at {self.settings.bootstrap} did not take the request ({type(error).__name__}). Confirm it again on the "
                "same page, or use the command line."
            ) from error
        logger.info("%s asked to %s %s: request %s", request.by, request.verb, request.pipeline, request.id)

    def _open(self) -> KafkaProducer:
        with self._lock:
            if self._producer is None:
                logging.getLogger("kafka").setLevel(logging.CRITICAL)
                timeout_ms = int(self.settings.connect_timeout_s * 1000)
                self._producer = KafkaProducer(**options(self.settings), max_block_ms=timeout_ms, acks="all")
            return self._producer

    def close(self) -> None:
        """Send nothing more."""
        with self._lock:
            if self._producer is not None:
                self._producer.close(1.0)
                self._producer = None
