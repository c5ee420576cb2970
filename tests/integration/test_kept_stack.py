"""`penstock up --keep`: servers that find again what they held, and one process at a time that uses a folder."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import redis
from kafka import KafkaAdminClient

from penstock.stream.cli.up import kept_secret
from penstock.stream.log.admin import existing
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Out
from penstock.stream.process.settings import Settings
from penstock.stream.stack import StackError, local_stack
from penstock.stream.stack.docker import _volume
from penstock.stream.stack.kafka import java_missing
from penstock.stream.stack.local import kept_for_us, kept_kind
from penstock.stream.stack.server import free_ports, same_ports


@pytest.mark.long
@pytest.mark.skipif(java_missing() is not None, reason="no Java with Maven")
def test_what_kept_servers_held_is_there_again_at_the_same_address(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    with local_stack("java", env={}, keep=keep) as stack:
        first = (stack.kafka, stack.redis_url)
        assert stack.kafka is not None
        with client(KafkaAdminClient, Settings(bootstrap=stack.kafka)) as admin:
            admin.create_topics({"kept": {"num_partitions": 2}}, wait_for_metadata=True)
        log = KafkaLog(stack.kafka)
        log.append([Out("kept", b"k", b"v", (), 1)])
        topic_id = log.topic_id("kept")
        log.close()
        with redis.Redis.from_url(stack.redis_url) as store:
            store.set("kept", "yes")
    assert keep.is_dir()
    with local_stack("auto", env={}, keep=keep) as stack:
        assert (stack.kafka, stack.redis_url) == first
        assert stack.kafka is not None
        log = KafkaLog(stack.kafka)
        assert log.topic_id("kept") == topic_id and log.bounds([("kept", 1)]) == {("kept", 1): (0, 1)}
        log.close()
        with client(KafkaAdminClient, Settings(bootstrap=stack.kafka)) as admin:
            assert existing(admin, ["kept"]) == {"kept": 2}
        with redis.Redis.from_url(stack.redis_url) as store:
            assert store.get("kept") == b"yes"
        with pytest.raises(StackError, match="is in use"), local_stack("java", env={}, keep=keep):
            pass


def test_a_folder_in_use_is_refused_and_free_again_afterwards(tmp_path: Path) -> None:
    with kept_for_us(tmp_path), pytest.raises(StackError, match="is in use"), kept_for_us(tmp_path):
        pass
    with kept_for_us(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="cannot be used"), kept_for_us(tmp_path / "file"):
        pass


def test_a_folder_is_served_as_it_was_unless_an_address_is_given(tmp_path: Path) -> None:
    assert kept_kind(None, "auto", None) == "auto" and kept_kind(tmp_path, "auto", None) == "auto"
    (tmp_path / "kind").write_text("docker")
    assert kept_kind(tmp_path, "auto", None) == "docker"
    assert kept_kind(tmp_path, "auto", "broker:1") == "auto" and kept_kind(tmp_path, "java", None) == "java"
    (tmp_path / "kind").write_text("java")
    assert kept_kind(tmp_path, "auto", None) == "java"


def test_former_ports_are_taken_again_only_while_they_are_free() -> None:
    ports = free_ports(2)
    assert same_ports(ports) == ports
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        assert not set(same_ports(ports)) & {ports[0]}


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    made = kept_secret(tmp_path)
    assert len(made) == 64 and kept_secret(tmp_path) == made != kept_secret(None)
    assert stat.S_IMODE(os.stat(tmp_path / "secret").st_mode) == 0o600


def test_containers_keep_their_data_in_volumes_named_after_the_folder(tmp_path: Path) -> None:
    assert _volume("kafka", None, "/data") == {}
    [(volume, inside)] = _volume("kafka", tmp_path, "/data").items()
    assert inside == "/data" and volume.startswith("penstock-") and volume.endswith("-kafka")
    assert volume not in _volume("kafka", tmp_path / "other", "/data")
