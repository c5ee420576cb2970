"""A user who may not, or whom nobody knows, ends the process: errors that no waiting mends are errors of their own kind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from confluent_kafka import KafkaError

from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.refused import unusable
from penstock.features.redis.store import RedisStateStore, check_redis, connect
from penstock.features.units import Fenced, StateLost, StoreRefused, StoreUnavailable
from penstock.stream.cli.expected import EXPECTED
from penstock.stream.console.reading.entity import look_up
from penstock.stream.console.reading.servers import Servers
from penstock.stream.console.reading.versions import stored
from penstock.stream.definition_file import load
from penstock.stream.flink.opening import check_no_job
from penstock.stream.log.not_allowed import NotAllowed
from penstock.stream.log.protocol import AppendFailed, CommitFailed, LogError, LogUnavailable
from penstock.stream.log.protocol import Fenced as GroupFenced
from penstock.stream.log.refused import not_allowed
from penstock.stream.models.store import RedisModelStore
from penstock.stream.process.settings import Settings

CARDS = Path(__file__).parents[2] / "examples" / "cards.py"

#: What the workers' loops take as passing, and try again.
RETRIED = (Fenced, StateLost, StoreUnavailable, AppendFailed, LogUnavailable, CommitFailed, GroupFenced)


def test_a_refusal_is_none_of_the_errors_that_a_worker_tries_again_after_and_is_one_line_of_the_command() -> (
    None
):
    assert not issubclass(NotAllowed, RETRIED) and not issubclass(StoreRefused, RETRIED)
    assert issubclass(NotAllowed, LogError) and {StoreRefused, LogError} <= set(EXPECTED)


def test_kafkas_codes_of_rights_and_users_are_refusals_and_others_are_not() -> None:
    for code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        told = not_allowed(KafkaError(code), "to write to cards.samples")
        assert (
            told is not None
            and "to write to cards.samples" in str(told)
            and "penstock acls FILE" in str(told)
        )
    for code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
        assert "does not know this user" in str(not_allowed(KafkaError(code), ""))
    for code in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError.NOT_LEADER_FOR_PARTITION):
        assert not_allowed(KafkaError(code), "") is None


def test_redis_that_is_away_is_waited_for_and_one_that_refuses_is_not() -> None:
    assert isinstance(unusable(redis.exceptions.NoPermissionError("no"), "here", ""), StoreRefused)
    assert isinstance(unusable(redis.exceptions.AuthenticationError("who?"), "here", ""), StoreRefused)
    for error in (redis.ConnectionError("gone"), redis.TimeoutError("late"), redis.ResponseError("odd")):
        assert isinstance(unusable(error, "here", "do this"), StoreUnavailable)


def test_every_way_to_redis_says_which_right_is_missing(valkey: redis.Redis, valkey_url: str) -> None:
    valkey.execute_command("ACL", "SETUSER", "poor", "reset", "on", ">p", "+info", "+mget", "~nothing")
    poor = connect(valkey_url.replace("://", "://poor:p@"))
    check_redis(poor)
    for call in (
        lambda: RedisStateStore(poor, "cards", "0").acquire(),
        lambda: RedisStateStore(poor, "cards", "0").load(["penstock:cards:0:token"]),
        lambda: RedisKeyspace(poor).read(["penstock:cards:identity"]),
        lambda: RedisModelStore(poor, "cards", "secret").ids(),
        lambda: check_no_job(RedisKeyspace(poor), "cards"),
    ):
        with pytest.raises(StoreRefused, match="`penstock acls FILE`"):
            call()
    # A page says it, and the console goes on.
    page = Servers(Settings(secret="secret"), client=poor)
    assert "`penstock acls FILE`" in look_up(page, load(CARDS), "card", ("c1",), None).said
    asked = SimpleNamespace(prefix="", pipeline="cards")
    stores = SimpleNamespace(store=RedisModelStore(poor, "cards", "secret"))
    assert "`penstock acls FILE`" in stored(asked, stores).why  # type: ignore[arg-type]
    with pytest.raises(StoreRefused, match="does not know this user"):
        check_redis(connect(valkey_url.replace("://", "://nobody:p@")))
    valkey.execute_command("ACL", "DELUSER", "poor")
