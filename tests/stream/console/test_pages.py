"""The pages: they say what the command line says, in HTML that stands by itself, and nobody else's site can use them."""

from __future__ import annotations

import html
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from penstock.stream.console import files
from penstock.stream.console.app import table
from penstock.stream.console.state import States
from penstock.stream.messages import ControlEvent, encode_json
from penstock.stream.operate.control_lines import moment
from penstock.stream.operate.expert_lines import who_predicts
from penstock.stream.operate.status_found import RoleStatus, wrong
from penstock.stream.operate.status_lines import as_text
from tests.stream.console.conftest import LOOKED_MS
from tests.stream.console.year import Line, console_of, status_of, stepped
from tests.stream.generated import parcels

PAGES = ("/", "/pipelines/parcels", "/pipelines/parcels?span=1d", "/pipelines/parcels?span=all")


@pytest.fixture
def client(states: States) -> TestClient:
    return TestClient(console_of(states, {"parcels": parcels()}))


def text_of(page: str) -> str:
    """The words of a page, without its tags and data."""
    page = re.sub(r"<script.*?</script>|<style.*?</style>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


class Outline(HTMLParser):
    """What a page is made of: open tags that were never closed, ids, headings, and what it loads or runs."""

    VOID = frozenset({"meta", "link", "br", "input", "img", "hr", "rect", "line", "path"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.roles: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(given["id"] or "")
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        self.roles |= {tag, given.get("role") or ""}
        if tag in ("link", "img") or (tag == "script" and "src" in given):
            self.loads.append(given.get("src") or given.get("href") or "")
        if tag == "script" and not given.get("src") and given.get("type") != "application/json":
            self.inline.append("script")
        self.inline += [name for name in given if name == "style" or name.startswith("on")] + (
            ["style"] if tag == "style" else []
        )

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes another"


def test_the_pipelines_page_says_what_penstock_status_says(client: TestClient, states: States) -> None:
    said = text_of(client.get("/pipelines/parcels").text)
    status = states.pipelines["parcels"].status
    assert status is not None
    for line in as_text(status):
        assert re.sub(r"\s+", " ", line) in said
    for line in status.wrong:
        assert said.count(line) >= 2, "above all else, too"


def test_the_overview_says_what_penstock_status_says(client: TestClient, states: States) -> None:
    said = text_of(client.get("/").text)
    state = states.pipelines["parcels"]
    assert state.status is not None and state.live is not None
    assert ("something is wrong" if state.status.wrong else "all is well") in said
    assert all(line in said for line in state.status.wrong[:4])
    assert who_predicts(state.live) in said
    for event in state.open[:3]:
        assert f"{event.data.kind} of {event.subject} , {event.data.state} since" in said, (
            "a link, and what follows it"
        )


def test_numbers_say_the_position_they_were_computed_at(client: TestClient, states: States) -> None:
    state = states.pipelines["parcels"]
    said = text_of(client.get("/pipelines/parcels?span=all").text)
    assert state.live is not None
    assert f"@{state.live.position:,}" in said and f"@{state.past.blocks[-1].position:,}" in said
    assert moment(LOOKED_MS) in said


@pytest.mark.parametrize("path", PAGES)
def test_a_page_stands_by_itself(client: TestClient, path: str) -> None:
    page = client.get(path).text
    outline = Outline(page)
    assert outline.open == [] and len(set(outline.ids)) == len(outline.ids)
    assert outline.inline == [], "the content policy lets none of it run"
    assert outline.loads and all(one.startswith("/static/") for one in outline.loads)
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(
        after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False)
    )
    assert {"main", "nav", "header", "footer", "status"} <= outline.roles
    assert not re.search(r"https?://", text_of(page))


@pytest.mark.parametrize("path", PAGES)
def test_each_chart_has_its_table_and_each_live_part_its_element(
    client: TestClient, path: str, states: States
) -> None:
    page = client.get(path).text
    for name in re.findall(r'data-chart="(\w+)"', page):
        assert f'id="data_{name}"' in page and f'id="live_table_{name}"' in page
    console = console_of(states, {"parcels": parcels()})
    name = "overview" if path == "/" else "pipeline"
    wanted = set(console.renderer._live(name))
    assert wanted and wanted == {one for one in Outline(page).ids if one.startswith("live_")}


def test_a_live_part_drawn_by_itself_is_what_it_is_in_its_page(client: TestClient, states: States) -> None:
    from starlette.requests import Request

    console = console_of(states, {"parcels": parcels()}, wall_ms=lambda: LOOKED_MS)
    for name, path, given in (
        ("overview", "/", {}),
        ("pipeline", "/pipelines/parcels", {"pipeline": "parcels"}),
    ):
        page = next(one for one in console.renderer.pages if one.name == name)
        scope: dict[str, Any] = {
            "type": "http",
            "path": path,
            "path_params": given,
            "query_string": b"",
            "headers": [],
        }
        scope["server"] = ("testserver", 80)
        drawn = console._drawn(page, Request(scope))
        whole = client.get(path).text
        for part in drawn.parts.values():
            assert part.strip() in whole
        assert drawn.position in html.unescape(whole)


def test_what_topics_say_is_text_and_never_a_tag(states: States, lines: list[Line]) -> None:
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    state = states.pipelines["parcels"]
    data = msgspec.structs.replace(
        state.events[-1].data, reason=evil, episode="evil", state="firing", command=evil
    )
    event = ControlEvent(id="evil", source="s", type="t", subject=evil, time="", data=data)
    states.step("control.alerts", states.positions["control.alerts"], 10**13, encode_json(event))
    states.looked("parcels", status_of(states, "parcels"), LOOKED_MS)
    client = TestClient(console_of(states, {"parcels": parcels()}))
    for path in PAGES:
        page = client.get(path).text
        assert "<img" not in page and "alert(2)</script>" not in page and "&lt;img" in page
        assert Outline(page).open == []


def test_what_is_not_there_is_said_with_what_is(client: TestClient) -> None:
    found = client.get("/pipelines/none")
    assert found.status_code == 404 and "no pipeline 'none' is shown here; there are: parcels" in text_of(
        found.text
    )
    assert client.get("/nowhere").status_code == 404
    assert client.post("/", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 405
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/pipelines/parcels?span=ever").status_code == 200


def test_a_page_that_fails_is_a_sentence_and_the_next_one_goes_on(states: States, monkeypatch: Any) -> None:
    console = console_of(states, {"parcels": parcels()})
    client = TestClient(console, raise_server_exceptions=False)
    monkeypatch.setattr(console.renderer, "whole", lambda *_: 1 / 0)
    found = client.get("/")
    assert found.status_code == 500 and "drawing this page failed (ZeroDivisionError)" in text_of(found.text)
    monkeypatch.undo()
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/", "/pipelines/none", "/nowhere", "/static/console.js", "/metrics"])
def test_every_answer_tells_the_browser_what_to_refuse(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    assert "server" not in headers
    if not path.startswith("/static"):
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io", "[::2]"])
def test_another_sites_name_is_not_answered(client: TestClient, host: str) -> None:
    for path in ("/", "/live/", "/static/console.js", "/pipelines/parcels"):
        found = client.get(path, headers={"host": host})
        assert found.status_code == 421 and "parcels" not in found.text
    assert client.get("/healthz", headers={"host": host}).status_code in (200, 503), (
        "who watches processes may ask"
    )


@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1", "[::1]:8090", "LOCALHOST", "testserver:1"])
def test_its_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_all_that_a_page_loads_is_small_and_kept_by_browsers(client: TestClient) -> None:
    found = files.read()
    assert sum(len(one.packed) for one in found.values()) <= files.MOST_BYTES
    page = client.get("/").text
    for address in Outline(page).loads:
        loaded = client.get(address, headers={"accept-encoding": "gzip"})
        assert loaded.status_code == 200 and "immutable" in loaded.headers["cache-control"]
        assert loaded.headers["content-encoding"] == "gzip"
        name = address.split("/")[2].split("?")[0]
        assert loaded.content == found[name].plain
        assert client.get(f"/static/{name}").headers["cache-control"] == "no-cache"


def test_the_charts_library_is_the_one_that_was_published_with_its_licence() -> None:
    import hashlib

    found = files.read()
    library = found["uplot-1.6.32.min.js"].plain
    assert b"(v1.6.32)" in library[:100]
    assert (
        hashlib.sha256(library).hexdigest()
        == "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
    )
    assert b"The MIT License" in found["uplot-LICENSE.txt"].plain


def test_pages_have_names_addresses_and_places_of_their_own() -> None:
    pages = table()
    assert [one.name for one in pages] and len({one.name for one in pages}) == len(pages)
    assert len({one.path for one in pages}) == len(pages)
    places = [one.order for one in pages if one.order is not None]
    assert len(set(places)) == len(places)


def test_a_pipeline_of_which_nothing_is_known_is_shown_as_that() -> None:
    client = TestClient(console_of(States(["parcels"]), {"parcels": parcels()}))
    for path in PAGES:
        said = text_of(client.get(path).text)
        assert "not known yet" in said and "Still reading the topics" in said


def test_who_asks_for_a_streams_head_alone_is_answered_at_once(client: TestClient) -> None:
    found = client.head("/live/pipelines/parcels")
    assert found.status_code == 200 and found.headers["content-type"].startswith("text/event-stream")


def test_fifty_pipelines_are_drawn_at_once(lines: list[Line], capsys: Any) -> None:
    """The figure is printed, and judged where figures are: benchmarks."""
    one = stepped(["parcels"], lines)
    states = States([f"parcels-{number}" for number in range(50)])
    for name, state in states.pipelines.items():
        state.__dict__.update({**one.pipelines["parcels"].__dict__, "name": name})
        status = replace(status_of(one, "parcels"), pipeline=name)
        status.roles = {**status.roles, "learn": RoleStatus([], 7)}
        status.wrong = wrong(status)
        states.looked(name, status, LOOKED_MS)
    states.caught_up = True
    client = TestClient(console_of(states, {}))
    began, used = time.perf_counter(), time.process_time()
    page = client.get("/").text
    took_ms, used_ms = (time.perf_counter() - began) * 1000, (time.process_time() - used) * 1000
    with capsys.disabled():
        print(
            f"\noverview of 50 pipelines: {took_ms:.0f} ms ({used_ms:.0f} of CPU), {len(page) / 1000:.0f} kB"
        )
    assert page.count('<th scope="row"') == 50 and page.count("nobody runs learn") == 50
