"""The console against addresses, forms and headers that are made to harm, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from penstock.stream.console import forms
from penstock.stream.console.app import table
from penstock.stream.console.guard import HEADERS
from penstock.stream.console.live import position_of
from tests.security.answering import answered, said
from tests.stream.console.acting import OURS, Desk
from tests.stream.console.flowing import EVIL, desk_of, flow_of
from tests.stream.console.test_pages import Outline

PAGES = sorted({page.path for page in table()})
NAMES = ("a", "at", "b", "from", "id", "k0", "key", "offset", "position", "reason", "republish", "sent", "since", "span", "until",
         "version", "view", "why", "once", "next", "page", "after")  # fmt: skip
HOSTILE = {
    "digits": "9" * 5_000,
    "other digits": "²³",
    "negative": "-1",
    "64 bits": str(2**64),
    "script": EVIL,
    "attribute": "\" autofocus onfocus=alert(1) x='",
    "template": "{{ 7*191 }}{% raise %}",
    "address": "javascript:alert(1)",
    "path": "../../../../etc/passwd",
    "null": "\0",
    "lines": "a\r\nSet-Cookie: b=c\r\n\r\n<h1>",
    "long": "x" * 8_000,
    "not UTF-8": "\udcff\udcfe",
    "of a time": "2023-11-14T22:13:20+99:99",
    "of a year": "999999999-01-01T00:00:00Z",
}
ALONE = ("digits", "other digits", "script", "null")
HOSTS = (
    "Host: evil.example\r\n",
    "Host: localhost\r\nHost: evil.example\r\n",
    "Host: \r\n",
    "Host: localhost@evil.example\r\n",
)
POSITIONS = ("x", "a:b", "a:" + "9" * 5_000, "a:²", ":::", "\0", "a:1," * 1_000, "a:-1")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    yield desk_of(flow_of(bad=[b"{", EVIL.encode()]), tmp_path_factory.mktemp("desk"))


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("path", PAGES)
def test_no_page_fails_or_runs_what_somebody_put_into_its_address(
    path: str, hostile: str, desk: Desk
) -> None:
    browser = desk.of("ada")
    text = HOSTILE[hostile]
    encoded = quote(text, safe="", errors="surrogateescape")
    here = path.replace("{pipeline}", "parcels")
    inside = here
    while "{" in inside:
        inside = inside[: inside.index("{")] + encoded + inside[inside.index("}") + 1 :]
    asked = [inside]
    if inside == here:
        asked.append(f"{inside}?" + "&".join(f"{name}={encoded[:1_500]}" for name in NAMES))
        asked += [f"{inside}?{name}={encoded}" for name in NAMES if hostile in ALONE]
    for address in asked:
        answer = browser.get(address)
        assert answer.status_code in (200, 303, 400, 404, 503), (address[:80], answer.status_code)
        page = answer.text
        assert "<script>alert" not in page and "<img" not in page and "<h1>'" not in page
        assert "1337" not in page and "root:" not in page
        assert 'href="javascript:' not in page and "set-cookie" not in answer.headers
        if answer.headers["content-type"].startswith("text/html"):
            assert not Outline(page).inline, "no script, style or handler of its own"
        for name, value in HEADERS:
            assert answer.headers[name.decode()] == value.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../guard.py",
        "/static/..%2fguard.py",
        "/static/%2e%2e%2fguard.py",
        "/static/..%5cguard.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/console.css%00.py",
        "/static/",
        "/templates/base.html",
        "/.env",
    ],
)
def test_no_address_leads_to_a_file_but_those_of_static(path: str, desk: Desk) -> None:
    with answered(desk.console) as port:
        raw = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        found = said(port, raw)
    assert found.split(b"\r\n")[0].split()[1] in (b"404", b"303"), found[:80]
    assert b"DNS rebinding" not in found and b"root:" not in found


def test_a_form_that_does_not_end_is_not_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "BODY_S", 0.3)
    head = (
        "POST /login HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
    )
    with answered(desk.console) as port:
        slow = said(port, f"{head}Content-Length: 100\r\n\r\nname=".encode())
        assert b" 408 " in slow.split(b"\r\n")[0] and b"[open]" not in slow
        large = said(port, f"{head}Content-Length: 9999999\r\n\r\n".encode() + b"a" * 100_000)
        assert b" 413 " in large.split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"name": "omar"}'),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("text/plain", b"name=omar"),
        ("", b"name=omar"),
        ("application/x-www-form-urlencoded", b"name=%ff"),
        ("application/x-www-form-urlencoded", b"\xff\xfe=1"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(100))),
        ("application/x-www-form-urlencoded", b"a" * 20_000),
    ],
    ids=repr,
)
def test_what_is_no_form_of_ours_is_refused(desk: Desk, kind: str, body: bytes) -> None:
    browser = desk.of("omar")
    before = len(desk.sent)
    for path in ("/pipelines/parcels/act/hold", "/login"):
        answer = browser.post(path, content=body, headers={**OURS, "Content-Type": kind})
        assert 400 <= answer.status_code < 500, answer.status_code
    assert len(desk.sent) == before


def test_a_packed_form_is_not_unpacked(desk: Desk) -> None:
    import gzip

    browser = desk.of("omar")
    headers = {**OURS, "Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    answer = browser.post(
        "/pipelines/parcels/act/hold", content=gzip.compress(b"reason=" + b"a" * 10**7), headers=headers
    )
    assert 400 <= answer.status_code < 500


def test_a_host_a_user_or_an_origin_said_twice_is_not_believed(desk: Desk) -> None:
    head = "GET / HTTP/1.1\r\nConnection: close\r\n"
    with answered(desk.console) as port:
        for hosts in HOSTS:
            found = said(port, f"{head}{hosts}\r\n".encode())
            assert found.split(b"\r\n")[0].split()[1] in (b"421", b"400"), found[:60]
        act = "POST /pipelines/parcels/act/hold HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-User: ada\r\nConnection: close\r\n"
        found = said(port, f"{act}Content-Length: 0\r\n\r\n".encode())
        assert b" 403 " in found.split(b"\r\n")[0], "nobody is believed who is no proxy of the list"


@pytest.mark.parametrize("after", POSITIONS, ids=lambda one: one[:9])
def test_a_stream_takes_no_hostile_position(desk: Desk, after: str) -> None:
    assert desk.of("omar").head("/live/?after=" + quote(after)).status_code == 200
    assert position_of(after) == {}
