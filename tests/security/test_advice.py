"""What clients say of a broker that does not answer, and which setting to look at for it."""

from __future__ import annotations

import logging

import pytest
from kafka import KafkaAdminClient

from penstock.stream.log import kafka_python
from penstock.stream.log.advice import ABSENT, CERTIFICATE, DISCONNECTED, PROTOCOL, USER, advice
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import LogUnavailable
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.stack.server import free_ports


@pytest.mark.parametrize(
    ("said", "todo"),
    [
        ("SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could …", CERTIFICATE),
        ("Handshake failed: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", CERTIFICATE),
        ("ssl.ca.location failed: error:05880020:x509 certificate routines::BIO lib", CERTIFICATE),
        ("SASL authentication error: Authentication failed during authentication due to invalid credentials", USER),
        ("SaslAuthenticationFailedError: Authentication failed", USER),
        ("SSL handshake failed: error:0A00010B:SSL routines::wrong version number", PROTOCOL),
        ("SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?", PROTOCOL),
        ("KafkaConnectionError: socket disconnected (backoff 1.39 secs)", DISCONNECTED),
        ("Connect to ipv4#127.0.0.1:9092 failed: Connection refused", ABSENT),
        ("", ABSENT),
    ],
)  # fmt: skip
def test_what_to_do_follows_from_what_was_said(said: str, todo: str) -> None:
    assert advice(said) == todo


def test_a_broker_that_is_away_is_said_to_refuse_by_both_clients() -> None:
    (port,) = free_ports(1)
    # long enough for a busy machine to hear of it
    settings = Settings(bootstrap=f"127.0.0.1:{port}", connect_timeout_s=2.0)
    with (
        pytest.raises(LogUnavailable, match="ECONNREFUSED|refused") as refused,
        kafka_python.client(KafkaAdminClient, settings),
    ):
        pass
    assert ABSENT in str(refused.value) and str(port) in str(refused.value)
    left = [type(one).__name__ for one in logging.getLogger("kafka").handlers]
    assert logging.getLogger("kafka").propagate and "_Heard" not in left
    log = KafkaLog(settings.bootstrap, request_timeout_s=0.3)
    try:
        with pytest.raises(LogUnavailable) as unanswered:
            log.partitions("any")
        assert ABSENT in str(unanswered.value)
    finally:
        log.close()


def test_a_setting_that_librdkafka_refuses_is_said_in_a_line() -> None:
    for wrong in (
        {"ssl.ca.location": "/nowhere/ca.pem", "security.protocol": "SSL"},
        {"sasl.pasword": "hush"},
    ):
        with pytest.raises(SettingError, match="PENSTOCK_KAFKA_") as refused:
            KafkaLog("127.0.0.1:1", wrong)
        assert "hush" not in str(refused.value)
