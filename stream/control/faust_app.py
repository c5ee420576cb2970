"""A Faust app as quiet and as quick to start as it can be made, from our settings.

Laws of this file:
- The app creates no topics (clusters may forbid it), elects no leader, opens no port and keeps its files in a
  folder that goes.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

import aiokafka.consumer.fetcher
import faust
from faust.tables.manager import TableManager
from faust.types import AppT

from penstock.stream import topology
from penstock.stream.log.kafka_batches import Batches
from penstock.stream.process.settings import SettingError, Settings

_IGNORED = frozenset({"client.id"})


class Tables(TableManager):
    """Faust's tables, begun at once: its own wait a second for such as are declared while the app starts. Ours are before."""

    async def on_start(self) -> None:
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()


def app_id(pipeline: str, settings: Settings) -> str:
    """The app's id, which is its consumer group."""
    return topology.consumer_group(pipeline, "control", settings.prefix)


def changelog_of(pipeline: str, settings: Settings) -> str:
    """The topic behind the policy table, by Faust's naming."""
    return topology.policy_changelog(pipeline, settings.prefix).name


def build(pipeline: str, settings: Settings, folder: str) -> AppT:
    """The app, not started. `folder` takes its files."""
    # aiokafka says forty times a second that a broker is away; the steps that fail for it say so themselves.
    for noisy, least in (("faust", logging.WARNING), ("mode", logging.ERROR), ("aiokafka", logging.CRITICAL)):
        logging.getLogger(noisy).setLevel(least)
    # No record stops it. Its fetcher is made deep within Faust, and this process has no other.
    aiokafka.consumer.fetcher.MemoryRecords = Batches
    return faust.App(
        app_id(pipeline, settings),
        broker=";".join(f"kafka://{address.strip()}" for address in settings.bootstrap.split(",")),
        broker_client_id=settings.client_id,
        broker_credentials=credentials(settings),
        datadir=folder,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=1,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        consumer_group_instance_id=f"{app_id(pipeline, settings)}-{settings.slot}",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=1.0,
        broker_commit_interval=1.0,
        stream_recovery_delay=0.0,
        producer_linger=0.0,
        TableManager=Tables,
        HttpClient=object,  # it asks nobody for a page
        worker_redirect_stdouts=False,
    )


def credentials(settings: Settings) -> Any:
    """Faust's credentials from librdkafka's names; None for plain text. Raises `SettingError` for what it cannot do."""
    given = {name: value for name, value in settings.kafka.items() if name not in _IGNORED}
    protocol = given.pop("security.protocol", "PLAINTEXT").upper()
    context: ssl.SSLContext | None = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=given.pop("ssl.ca.location", None))
        certificate = given.pop("ssl.certificate.location", None)
        if certificate:
            context.load_cert_chain(
                certificate, given.pop("ssl.key.location", None), given.pop("ssl.key.password", None)
            )
        if given.pop("ssl.endpoint.identification.algorithm", "https").lower() != "https":
            context.check_hostname = False
    found: Any = faust.SSLCredentials(context) if context is not None else None
    if protocol.startswith("SASL"):
        found = faust.SASLCredentials(
            mechanism=given.pop("sasl.mechanism", given.pop("sasl.mechanisms", "PLAIN")),
            username=given.pop("sasl.username", None),
            password=given.pop("sasl.password", None),
            ssl_context=context,
        )
    if given:
        name = next(iter(given))
        raise SettingError(
            f"PENSTOCK_KAFKA_{name.upper().replace('.', '_')}: the control role has no such setting"
        )
    return found
