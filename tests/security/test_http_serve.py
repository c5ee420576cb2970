"""The serve role against bodies and addresses that are made to harm: deep, huge, packed, and never what they seem."""

from __future__ import annotations

import gzip
import json
import pickle
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.stream.serve.app import Application
from penstock.stream.serve.limits import Limits
from tests.security.answering import answered, said
from tests.security.planted import Planted
from tests.stream.serve.test_app import PREDICT, Asked

DEEP = 100_000
INFER = "/v2/models/parcels/infer"


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)
        yield Asked()


def event(**more: Any) -> dict[str, Any]:
    given = {
        "parcel": "p",
        "sent_at": 1_700_000_000_000,
        "van": "v",
        "depot": "d0",
        "street": "s",
        "weight": 1.0,
    }
    return {**given, **more}


BOMBS = {
    "lists in lists": b"[" * DEEP,
    "lists in a list of events": b"[" + b"[" * DEEP + b"]" * DEEP + b"]",
    "objects in objects": b'{"a":' * DEEP,
    "objects in objects, ended": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep in an event's own field": b'{"weight":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep in a field that nobody reads": json.dumps(event()).encode()[:-1]
    + b',"z":'
    + b"[" * DEEP
    + b"]" * DEEP
    + b"}",
    "a number of a million digits": b'{"weight":' + b"9" * 1_000_000 + b"}",
    "a list of numbers of many digits": b"[" + b",".join([b"9" * 5_000] * 100) + b"]",
    "an exponent": b'{"weight":1e999999999}',
    "a time of many digits": b'{"sent_at":' + b"9" * 5_000 + b"}",
    "no UTF-8": b'{"van":"\xff\xfe"}',
    "half a surrogate": b'{"van":"\\ud800","sent_at":1}',
    "a name twice": b'{"weight":1,"weight":[2]}',
    "not a number": b'{"weight":NaN}',
    "nothing but blanks": b" " * 3_000_000,
    "a list of nothing": b"[" + b"," * 1_000_000 + b"]",
    "a million events": b"[" + b"{}," * 1_000_000 + b"{}]",
    "null bytes": b"\x00" * 100_000,
    "a pickle": pickle.dumps(Planted()),
}


@pytest.mark.parametrize("path", [PREDICT, PREDICT.replace(":predict", ":explain"), INFER])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_body_that_is_made_to_harm_is_refused_in_a_sentence(asked: Asked, path: str, bomb: str) -> None:
    status, _, told = asked("POST", path, BOMBS[bomb])
    if status == 200 and isinstance(told, dict):  # each event of a list by itself
        assert all(one["error"] for one in told["predictions"])
        return
    assert 400 <= status < 500 and isinstance(told, dict) and told["error"], (status, told)
    assert len(json.dumps(told)) < 2_000, "what was sent is not sent back"


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_a_packed_body_is_not_unpacked(asked: Asked, packed: Any) -> None:
    """So no few bytes become many: 20 MB of blanks are 20 kB packed."""
    body = packed(b" " * 20_000_000 + json.dumps(event()).encode())
    assert len(body) < 40_000
    for coding in ("gzip", "deflate", "br", "zstd"):
        status, _, told = asked("POST", PREDICT, body, {"Content-Encoding": coding})
        assert status == 415 and "Content-Encoding" in told["error"]


@pytest.mark.parametrize(
    "query",
    [
        "as_of=" + "9" * 5_000,
        "as_of=²",
        "as_of=-1",
        "as_of=99999999999999999999",
        "min_position=" + "9" * 5_000,
        "min_position=²",
        "wait_ms=" + "9" * 5_000,
        "wait_ms=-1",
        "max_age=" + "9" * 5_000 + "d",
        "max_age=²d",
        "max_age=1" + "0" * 300 + "d",
        "version=../../../etc/passwd",
        "version=" + "x" * 10_000,
        "version=%00",
        "at_least_version=" + "v" * 10_000,
        "at_least_version=v" + "9" * 5_000,
        "at_least_version=v²",
        "explain=<script>",
        "a=1&" * 2_000,
    ],
    ids=lambda query: query[:24],
)
def test_options_that_are_made_to_harm_are_refused_in_a_sentence(asked: Asked, query: str) -> None:
    body = event()
    for path in (PREDICT, INFER):
        status, _, told = asked("POST", f"{path}?{query}", body)
        assert 400 <= status < 500 or (status == 200 and "wait_ms" in query), (status, told)
        assert len(json.dumps(told)) < 20_000


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/docs/../../etc/passwd",
        "/v1/pipelines/..%2f..%2fparcels",
        "/v1/pipelines/parcels/features/..%2f..%2f/d0",
        "/v1/pipelines/parcels/features/depot/..%2f..%2fetc",
        "/v1/pipelines/parcels/features/depot/%00",
        "/v1/pipelines/parcels/features/depot/*",
        "/v1/pipelines/parcels/features/depot/%ff%fe",
        "/v1/pipelines/parcels/features/depot/a|b|c|d",
        "/v1/pipelines/parcels/features/depot/" + "x" * 50_000,
        "/v1/pipelines/parcels/features/depot/d0?at=" + "9" * 5_000,
        "/v1/pipelines/parcels/features/depot/d0?at=²",
        "/v2/models/..%2f/versions/..%2f..",
        "/v2/models/parcels/versions/..%2f..%2fetc%2fpasswd",
        "//evil.example/docs",
        "/%0d%0aSet-Cookie:%20a=b",
    ],
    ids=lambda path: path[:50],
)
def test_addresses_that_are_made_to_harm_lead_nowhere(asked: Asked, path: str) -> None:
    status, headers, told = asked("GET", path)
    assert status in (200, 400, 404, 405, 422) and b"root:" not in json.dumps(told, default=str).encode()
    assert "set-cookie" not in headers
    if status == 200:  # an entity nobody has heard of
        assert not any(told["features"].values()) if "features" in told else True


def test_every_answer_has_the_headers_that_keep_a_browser_from_making_more_of_it(asked: Asked) -> None:
    for method, path, body in (
        ("GET", "/docs", b""),
        ("GET", "/openapi.json", b""),
        ("GET", "/metrics", b""),
        ("GET", "/nowhere", b""),
        ("POST", PREDICT, event()),
        ("POST", PREDICT, b"{"),
        ("GET", "/v1/pipelines/parcels/features/depot/<script>alert(1)</script>", b""),
    ):
        _, headers, _ = asked(method, path, body)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-type"] != "text/html" and "access-control-allow-origin" not in headers
        if path not in ("/docs", "/openapi.json", "/metrics"):
            assert headers["content-type"] == "application/json" and headers["cache-control"] == "no-store"
    policy = asked("GET", "/docs")[1]["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and policy.count("sha256-") == 2


def test_the_policy_of_the_page_lets_its_own_script_and_style_run(asked: Asked) -> None:
    """By the digests of what stands in it: a page that is changed without them would do nothing."""
    import base64
    import hashlib
    import re

    _, headers, page = asked("GET", "/docs")
    for tag in (b"script", b"style"):
        inside = re.findall(b"<%s>(.*?)</%s>" % (tag, tag), page, re.DOTALL)
        assert len(inside) == 1
        wanted = base64.b64encode(hashlib.sha256(inside[0]).digest()).decode()
        assert f"{tag.decode()}-src 'sha256-{wanted}'" in headers["content-security-policy"]
    assert not re.search(rb"\son[a-z]+=|javascript:|style=", page), "no script or style in an attribute"


def test_a_name_or_an_id_that_is_said_back_cannot_become_a_header(asked: Asked) -> None:
    for given in ("a\r\nset-cookie: b=c", "a\nb", "\x00", "é", "x" * 500, "", "a b"):
        _, headers, _ = asked("GET", "/openapi.json", b"", {"X-Request-Id": given})
        assert headers["x-request-id"] != given and headers["x-request-id"].isalnum()
    assert asked("GET", "/openapi.json", b"", {"X-Request-Id": "a-1.b_2/3"})[1]["x-request-id"] == "a-1.b_2/3"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic dDp0",
        "bearer",
        "Bearer sesame2",
        "Bearer \xe9",
        "sesame",
        "Bearer s",
    ],
)
def test_without_a_token_of_the_list_nothing_of_the_pipelines_is_answered(asked: Asked, header: str) -> None:
    app = Application({"parcels": asked.served}, asked.health, Limits(tokens=("sesame", "other")))
    mine = Asked.__new__(Asked)
    mine.__dict__.update(asked.__dict__, app=app)
    given = {"Authorization": header}
    for method, path in (
        ("GET", "/v1/pipelines"),
        ("GET", "/v1/pipelines/parcels"),
        ("POST", PREDICT),
        ("GET", "/v1/pipelines/parcels/features/depot/d0"),
        ("GET", "/v2"),
        ("GET", "/v2/models/parcels"),
        ("POST", INFER),
        ("GET", "/nowhere"),
    ):
        assert mine(method, path, event(), given)[0] == 401
    assert mine("POST", PREDICT, event(), {"Authorization": "bearer  other "})[0] == 200


def test_on_a_real_socket_a_body_that_is_too_large_is_refused_before_it_has_come(asked: Asked) -> None:
    app = Application({"parcels": asked.served}, asked.health, Limits(body_bytes=1_000, body_s=0.5))
    with answered(app) as port:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode()
        assert b" 413 " in said(port, head + b"Content-Length: 99999999\r\n\r\n" + b" " * 2_000)
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b" " * 1_024 + b"\r\n") * 3
        assert b" 413 " in said(port, chunked)
        slow = said(port, head + b"Content-Length: 500\r\n\r\n{")
        assert b" 408 " in slow and b"[open]" not in slow
