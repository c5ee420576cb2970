"""A commit of which nothing is heard: it is given up, and the process can end."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from penstock.stream.log import kafka_members
from penstock.stream.log.kafka_commits import commit
from penstock.stream.log.kafka_members import KafkaMember
from penstock.stream.log.protocol import CommitFailed, Fenced
from tests.patience import PATIENCE_S
from tests.places import ROOT

POSITIONS = {("t", 0): 7}
OFFSETS = [TopicPartition("t", 0, 7)]
ENDS = """
from tests.contract.test_kafka_commits import POSITIONS, Deaf
from penstock.stream.log.kafka_commits import commit
try:
    commit(Deaf(), POSITIONS, 0.1)
except Exception as error:
    print(type(error).__name__)
"""


class Deaf:
    """A client that waits for ever."""

    def subscribe(self, *_: Any, **__: Any) -> None:
        pass

    def commit(self, **_: Any) -> Any:
        threading.Event().wait()


class Says:
    """A client that answers, or raises."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def commit(self, *, offsets: Any, asynchronous: bool) -> Any:
        assert offsets == OFFSETS and not asynchronous
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_commit_of_which_nothing_is_heard_fails_and_the_process_ends() -> None:
    with pytest.raises(CommitFailed, match="nothing was heard of it for 0.05 s"):
        commit(Deaf(), POSITIONS, 0.05)
    ended = subprocess.run(
        [sys.executable, "-c", ENDS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "Unheard\n"), ended.stderr


def test_a_member_gives_a_commit_up_of_which_nothing_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_members, "COMMIT_S", 0.05)
    client: Any = Deaf()
    member = KafkaMember(client, ["t"], lease=False, check=lambda _: None, before_revoke=None)
    member._positions = dict(POSITIONS)
    with pytest.raises(CommitFailed):
        member.commit(POSITIONS)


@pytest.mark.parametrize("timeout_s", [None, PATIENCE_S])
def test_what_a_client_says_or_raises_is_told(timeout_s: float | None) -> None:
    commit(Says(OFFSETS), POSITIONS, timeout_s)
    commit(Says(None), POSITIONS, timeout_s)
    with pytest.raises(Fenced):
        commit(Says(KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))), POSITIONS, timeout_s)
    with pytest.raises(CommitFailed, match="offsets were not committed"):
        commit(Says(KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))), POSITIONS, timeout_s)
