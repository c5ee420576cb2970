"""Addresses of one server, of a cluster and of sentinels; and what is said of those that are neither."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.features.redis.connecting import without_secrets
from penstock.features.redis.store import StoreUnavailable, address, check_redis, connect


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/3",
        "redis+cluster://a:1,b:2/",
        "redis+sentinel://a:1,b:26379/features/2",
    ],
)
def test_an_address_is_said_as_it_was_given(url: str) -> None:
    assert address(connect(url)) == url


def test_a_password_is_in_no_address_and_reaches_the_servers() -> None:
    sentinel: Any = connect("rediss+sentinel://user:se%40cret@a,b:5/features?sentinel_password=other")
    assert address(sentinel) == "redis+sentinel://a:26379,b:5/features/0"
    given = sentinel.connection_pool.connection_kwargs
    assert (given["username"], given["password"]) == ("user", "se@cret")
    assert "SSL" in sentinel.connection_pool.connection_class.__name__
    asked = sentinel.connection_pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs
    assert asked["password"] == "other" and not asked.get("username")
    cluster: Any = connect("rediss+cluster://user:secret@a,b:5", max_connections=7)
    assert address(cluster) == "redis+cluster://a:6379,b:5/"
    assert {"password": "secret", "ssl": True, "max_connections": 7}.items() <= cluster._options.items()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://a:1/3", "a cluster has no database '3'"),
        ("redis+cluster:///", "a host is missing"),
        ("redis+cluster://a:1,,b:2/", "a host is missing"),
        ("redis+cluster://a:port/", "'a:port' is not host:port"),
        ("redis+sentinel://a:1/", "name of the service"),
        ("redis+sentinel://a:1/features/first", "the database's number"),
        ("redis+ring://a:1/", "no scheme of a Redis address"),
        ("http+cluster://secret@a:1/", "no scheme of a Redis address"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_with_its_form_and_without_secrets(url: str, said: str) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        connect(url)
    assert said in str(raised.value) and "host:port" in str(raised.value)
    assert "secret" not in str(raised.value) and "REDIS_URL" in str(raised.value)


@pytest.mark.parametrize("user", ["", "mia"])
@pytest.mark.parametrize("form", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
@pytest.mark.parametrize(
    "password", ["PA/SS", "PA?SS", "PA#SS", "PA@SS", "4242/1717", "4242?1717", "4242#1717", "PA:SS", "PA[SS", "PA]SS", "PA=1?SS", "://PA"]
)  # fmt: skip
def test_no_password_is_taken_for_a_host_and_said_whatever_is_in_it(
    user: str, form: str, password: str
) -> None:
    url = f"{form}://{user}:{password}@host:6379/{'features' if form.endswith('sentinel') else '0'}"
    try:
        said = address(connect(url))
    except StoreUnavailable as error:
        said = str(error)
        assert "%2F" in said and "REDIS_URL" in said
    for shown in (said, without_secrets(url)):
        assert not any(part in shown for part in ("PA", "SS", "4242", "1717", "mia"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://mia:s@h:1/0?password=secret", "redis://…@h:1/0?…"),
        ("redis://h/0?password=a@secret", "redis://…"),
        ("rediss+sentinel://mia:s@a:1,b:2/features/0", "rediss+sentinel://…@a:1,b:2/features/0"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock?…"),
        ("mia:secret@host:6379", "…"),
        ("", "…"),
    ],
)
def test_an_address_is_shown_without_what_nobody_else_may_know(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_an_address_of_no_form_is_refused_in_one_sentence() -> None:
    for url in ("", "host:6379", "mia:secret@host", "redis://h:port/0", "redis://h/0?socket_timeout=secret"):
        with pytest.raises(StoreUnavailable, match="REDIS_URL") as refused:
            connect(url)
        assert "secret" not in str(refused.value) and "\n" not in str(refused.value)


def test_one_server_is_not_taken_for_a_cluster_nor_a_clusters_node_for_one(
    valkey_url: str, cluster_url: str
) -> None:
    as_cluster = valkey_url.replace("redis://", "redis+cluster://")
    with pytest.raises(StoreUnavailable, match="Cluster mode is not enabled"):
        check_redis(connect(as_cluster))
    as_one = cluster_url.replace("redis+cluster://", "redis://").partition(",")[0]
    with pytest.raises(StoreUnavailable, match=r"in cluster mode.*redis\+cluster://"):
        check_redis(connect(as_one))


def test_a_cluster_and_sentinels_that_are_not_there_are_named() -> None:
    for url in ("redis+cluster://:secret@127.0.0.1:1/", "redis+sentinel://:secret@127.0.0.1:1/features/0"):
        with pytest.raises(StoreUnavailable) as raised:
            check_redis(connect(url, 0.2))
        assert "127.0.0.1:1/" in str(raised.value) and "secret" not in str(raised.value)
