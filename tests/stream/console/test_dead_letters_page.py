"""Dead letters on a page: what the command says, as text whatever they hold, and sent back once for those who may."""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path

import pytest

from penstock.stream.console.reading import letters
from penstock.stream.console.reading.servers import servers_of
from penstock.stream.console.shown_bytes import shown
from penstock.stream.featurize.dead_letters import kind_of
from penstock.stream.log.protocol import Out
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.console.acting import Desk, hidden
from tests.stream.console.flowing import EVIL, desk_of, flow_of, letters_topic
from tests.stream.console.test_pages import Outline, text_of
from tests.stream.generated import SENT
from tests.stream.naive_flow import everything

HERE = "/pipelines/parcels/dead-letters"
BAD = [b"no json", EVIL.encode(), b"\xff\xfe\x00raw", b'{"parcel": "p1"}', b'{"parcel": "p2"}']


@pytest.fixture
def flow() -> MemoryFlow:
    return flow_of(60, BAD)


@pytest.fixture
def desk(flow: MemoryFlow, tmp_path: Path) -> Desk:
    return desk_of(flow, tmp_path)


def there(flow: MemoryFlow) -> list[letters.Letter]:
    return [letters.of(record) for record in everything(flow.log, letters_topic(flow))]


def test_letters_are_counted_by_reason_and_the_newest_are_shown(desk: Desk, flow: MemoryFlow) -> None:
    found = there(flow)
    assert len(found) == len(BAD)
    page = desk.browser().get(HERE).text
    said = text_of(page)
    for kind, count in Counter(kind_of(one.reason) for one in found).items():
        assert f"{kind} {count}" in said
    for one in found:
        assert re.sub(r"\s+", " ", one.reason) in said and f"{SENT.name}[{one.partition}]@{one.of}" in said
    assert "the topic holds 5, at offsets 0 to 4" in said and "penstock dead-letters parcels" in said
    assert Outline(page).open == []


def test_what_a_record_holds_is_text_and_never_a_tag(desk: Desk, flow: MemoryFlow) -> None:
    paths = [HERE, f"{HERE}?reason={EVIL}", f"{HERE}?republish=yes&reason={EVIL}", f"{HERE}?sent={EVIL}"]
    for path in [*paths, f"{HERE}?offset={EVIL}", *(f"{HERE}?offset={one.offset}" for one in there(flow))]:
        page = desk.browser().get(path).text
        assert "<img" not in page and "<script>alert" not in page
        assert Outline(page).open == []
    page = desk.browser().get(f"{HERE}?offset=1").text
    assert (
        html.escape(EVIL, quote=False) in html.escape(html.unescape(page), quote=False)
        and "Header who" in page
    )


def test_bytes_that_are_no_utf8_are_shown_as_hexadecimal(desk: Desk, flow: MemoryFlow) -> None:
    offset = next(one.offset for one in there(flow) if one.value == BAD[2])
    said = text_of(desk.browser().get(f"{HERE}?offset={offset}").text)
    assert "ff fe 00 72 61 77" in said and "6 bytes, no UTF-8: hexadecimal" in said
    assert shown(b"a" * 30_000).cut and shown(b"\xff" * 5_000).cut and shown(None).kind == "null"
    assert shown("tab\tline\n\u202e\x07".encode()).text == "tab\tline\n\\u202e\\x07"


def test_a_reason_narrows_the_list_as_the_commands_does(desk: Desk, flow: MemoryFlow) -> None:
    reason = there(flow)[-1].reason
    meant = [one for one in there(flow) if reason.casefold() in one.reason.casefold()]
    assert 0 < len(meant) < len(BAD)
    page = desk.browser().get(HERE, params={"reason": reason.upper()}).text
    assert f"The newest {len(meant)}" in page and f"{len(meant)} letters" in text_of(page)


def test_what_is_sent_back_is_what_the_preview_said_and_only_once(desk: Desk, flow: MemoryFlow) -> None:
    before = {one[:3]: one for one in everything(flow.log, SENT.name)}
    reason = there(flow)[-1].reason
    meant = [one for one in there(flow) if reason in one.reason]
    browser = desk.of("omar")
    preview = browser.get(HERE, params={"reason": reason, "republish": "yes"})
    assert f"{len(meant)} records, whose reason holds" in text_of(preview.text)
    assert "penstock dead-letters parcels --republish --reason" in preview.text
    assert len(everything(flow.log, SENT.name)) == len(before), "looking sends nothing"
    form = hidden(preview.text)
    first = browser.post(HERE, data=form)
    assert (
        first.status_code == 303
        and browser.post(HERE, data=form).headers["location"] == first.headers["location"]
    )
    new = [one for one in everything(flow.log, SENT.name) if one[:3] not in before]
    assert [(one.key, one.value, one.headers) for one in new] == [
        (one.key, one.value, tuple(one.headers)) for one in sorted(meant, key=lambda one: one.partition)
    ]
    assert f"{len(meant)} records were sent back" in text_of(browser.get(first.headers["location"]).text)


def test_one_letter_can_be_sent_back_by_itself(desk: Desk, flow: MemoryFlow) -> None:
    browser = desk.of("ada")
    preview = browser.get(f"{HERE}?republish=yes&since=2&until=3")
    assert "penstock dead-letters parcels --republish --since 2 --until 3" in text_of(preview.text)
    assert browser.post(HERE, data=hidden(preview.text)).status_code == 303
    assert [one.value for one in everything(flow.log, SENT.name)].count(BAD[2]) == 2


def test_what_a_crash_wrote_twice_is_sent_back_once(desk: Desk, flow: MemoryFlow) -> None:
    topic = letters_topic(flow)
    letter = everything(flow.log, topic)[2]
    flow.log.append([Out(topic, letter.key, letter.value, letter.headers, 0)])
    browser = desk.of("ada")
    preview = browser.get(f"{HERE}?republish=yes&since=2")
    said = text_of(preview.text)
    assert (
        f"{len(BAD) - 2} records" in said
        and "1 of them are left out" in said
        and "written twice by a crash" in said
    )
    assert browser.post(HERE, data=hidden(preview.text)).status_code == 303
    assert [one.value for one in everything(flow.log, SENT.name)].count(BAD[2]) == 2


@pytest.mark.parametrize(("name", "status"), [("", 403), ("vera", 403), ("omar", 303)])
def test_only_who_may_sends_back(desk: Desk, flow: MemoryFlow, name: str, status: int) -> None:
    form = hidden(desk.of("omar").get(f"{HERE}?republish=yes").text)
    count = len(everything(flow.log, SENT.name))
    browser = desk.of(name) if name else desk.browser(headers={"Sec-Fetch-Site": "same-origin"})
    page = browser.get(f"{HERE}?republish=yes").text
    assert ("takes an operator" in text_of(page)) == (status == 403) == ("Yes, send" not in page)
    assert browser.post(HERE, data=form).status_code == status
    assert (len(everything(flow.log, SENT.name)) > count) == (status == 303)


def test_a_post_from_elsewhere_or_of_something_else_sends_nothing(desk: Desk, flow: MemoryFlow) -> None:
    browser = desk.of("omar")
    form = hidden(browser.get(f"{HERE}?republish=yes").text)
    count = len(everything(flow.log, SENT.name))
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert browser.post(HERE, data=form, headers=elsewhere).status_code == 403
    assert browser.post(HERE, data={**form, "count": "4"}).status_code == 409
    for name in ("since", "until", "count", "once"):
        assert browser.post(HERE, data={**form, name: "x"}).status_code == 400
    assert len(everything(flow.log, SENT.name)) == count


def test_a_letter_that_came_meanwhile_is_not_sent_with_the_others(desk: Desk, flow: MemoryFlow) -> None:
    browser = desk.of("omar")
    form = hidden(browser.get(f"{HERE}?republish=yes").text)
    record = everything(flow.log, letters_topic(flow))[0]
    flow.log.append([Out(record.topic, record.key, record.value, record.headers, 0)])
    count = len(everything(flow.log, SENT.name))
    assert browser.post(HERE, data=form).status_code == 303
    assert len(everything(flow.log, SENT.name)) == count + len(BAD)


def test_no_topic_and_no_servers_are_said_in_a_sentence(flow: MemoryFlow) -> None:
    desk = desk_of(flow)
    flow.log.delete(letters_topic(flow))
    found = desk.browser().get(HERE)
    assert found.status_code == 200 and "does not exist" in text_of(found.text)
    bare = Desk(desk.console.reading.states, desk.console.people)
    assert bare.browser().get(HERE).status_code == 503


def test_by_a_consoles_settings_its_servers_are_opened_once() -> None:
    settings = Settings()
    assert servers_of(settings) is servers_of(settings) is not servers_of(Settings())


def test_more_letters_than_a_page_reads_are_said_to_be_more(
    flow: MemoryFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "SHOWN", 1)
    monkeypatch.setattr(letters, "MOST_LOOKED", 1)
    monkeypatch.setattr(letters, "MOST_SENT", 2)
    browser = desk_of(flow).browser()
    assert "are all that were looked at" in text_of(browser.get(HERE).text)
    assert "These are more than a page sends" in text_of(browser.get(f"{HERE}?republish=yes").text)
