"""The page about a history that the real roles lived: what it tells, and that it needs nothing but itself."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from river import anomaly, linear_model, preprocessing

from penstock import Label
from penstock.stream import cli, topology
from penstock.stream.learn.replay import replay
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Command, Sample, decode_entry, encode_entry
from penstock.stream.operate.reporting.page import page
from penstock.stream.operate.reporting.report import Report
from penstock.stream.operate.reporting.style import DARK, LIGHT
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.roles.report import CannotReport, report
from tests.stream.generated import DAY, DELIVERED, HOUR, START_MS, outs, parcel_events, parcels
from tests.stream.naive_flow import everything
from tests.stream.roles.test_stories import CHANGED_AT, EVENTS, flowed, pumps, told

BROKEN = range(CHANGED_AT - 1_500, EVENTS - 1_000)
VOID = re.compile(r"<(script|link|img|iframe|object|embed|form|a)\b")


def log_of(flow: MemoryFlow) -> MemoryLog:
    assert isinstance(flow.log, MemoryLog)
    return flow.log


@pytest.fixture(scope="module")
def turned() -> MemoryFlow:
    """The world turned round at `CHANGED_AT`: one story, one commitment."""
    return flowed(1, CHANGED_AT)


@pytest.fixture(scope="module")
def broken() -> MemoryFlow:
    """One pump's flow was nonsense for a while."""
    return flowed(1, EVENTS, BROKEN)


@cache
def asked(flow: MemoryFlow, **options: Any) -> Report:
    """The report, which nobody changes."""
    return report(pumps(), log=log_of(flow), settings=Settings(), **options)


def parsed(made: str) -> ElementTree.Element:
    """The page, which must be well-formed XML and HTML that needs nothing else."""
    assert made.startswith("<!DOCTYPE html>") and made.isprintable() is False
    assert not VOID.search(made) and "http:" not in made and "https:" not in made and "url(h" not in made
    assert " on" not in "".join(re.findall(r"<[^>]* on\w+=", made)), "no handler"
    return ElementTree.fromstring(made)


# -- the page -----------------------------------------------------------------------------------------------------------------


def test_the_page_of_an_incident_tells_its_story_and_stands_by_itself(turned: MemoryFlow) -> None:
    [asked_for] = [data for data in told(turned) if data.target_version]
    found = asked(turned, episode=asked_for.episode[:6])
    made = page(found)
    text = " ".join(parsed(made).itertext())
    assert found.of is not None and found.of.id == asked_for.episode
    assert asked_for.reason[:80] in text and asked_for.command in text
    assert f"{asked_for.target_version} is committed" in text
    cost = found.costs[found.of.id]
    assert cost is not None and cost.before is not None and cost.nats is not None and cost.nats > 0
    assert found.of.measured is None, (
        "it is not summed up yet: the model that it put in place has yet to prove itself"
    )
    assert f"{cost.nats:,.0f} nats more in all" in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', made)
    assert policy is not None and policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy[1]


def test_every_picture_says_in_words_what_it_shows_and_no_name_is_there_twice(broken: MemoryFlow) -> None:
    [alert] = {data.episode for data in told(broken)}
    for made in (page(asked(broken)), page(asked(broken, episode=alert))):
        tree = parsed(made)
        pictures = list(tree.iter("svg"))
        names = [one.attrib["id"] for one in tree.iter() if "id" in one.attrib]
        assert len(pictures) >= 3 and len(names) == len(set(names))
        for one in pictures:
            assert one.attrib["role"] == "img"
            wanted = one.attrib["aria-labelledby"].split()
            assert [part.attrib.get("id") for part in one[:2]] == wanted
            assert [part.tag for part in one[:2]] == ["title", "desc"]
            assert all((part.text or "").strip() for part in one[:2])


def test_the_same_log_gives_the_same_page(turned: MemoryFlow) -> None:
    assert page(asked.__wrapped__(turned)) == page(asked(turned))


def test_lines_differ_without_colour_and_have_their_names_at_their_ends(turned: MemoryFlow) -> None:
    picture = next(one for one in parsed(page(asked(turned))).iter("svg"))
    lines = [one for one in picture.iter("polyline")]
    dashes = {one.attrib["class"].split()[1]: one.attrib.get("stroke-dasharray", "") for one in lines}
    assert set(dashes) == {"live", "committed", "base"} and len(set(dashes.values())) == 3
    words = {one.text for one in picture.iter("text")}
    assert {"live", "committed", "base rate"} <= words
    ends = sorted(float(one.attrib["y"]) for one in picture.iter("text") if "name" in one.get("class", ""))
    assert all(later - earlier >= 14 for earlier, later in zip(ends, ends[1:], strict=False))


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    text = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    parts = [int(text[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_text_and_lines_have_contrast_enough_in_light_and_in_dark(scheme: str) -> None:
    colours = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", scheme))

    def contrast(one: str, other: str) -> float:
        dark, light = sorted(luminance(colours[name]) for name in (one, other))
        return (light + 0.05) / (dark + 0.05)

    for name in ("ink", "quiet", "live", "committed", "base"):
        assert contrast(name, "page") >= 4.5, name
    for name in ("critical", "warning", "is"):
        assert contrast(name, "page") >= 3.0, name
    assert contrast("ink", "soft") >= 4.5 and contrast("ink", "rule") >= 4.5
    for name in ("first", "frozen", "resumed", "careful", "new", "base-area"):
        assert contrast("mark", name) >= 3.0, name


def test_what_others_wrote_is_text_and_nothing_else() -> None:
    log = MemoryLog()
    flow = MemoryFlow(parcels(), partitions=2, log=log)
    flow.feed(outs(parcel_events(200)))
    flow.settle()
    nasty = '<script>alert("1")</script>\x1b[2J&amp;'
    hold = Command(id="c1", verb="hold", reason=nasty, by="<b>ann</b>")
    log.append([Out(topology.samples("parcels"), None, encode_entry(hold))])
    flow.settle()
    made = page(report(parcels(), log=log, settings=Settings()))
    text = " ".join(parsed(made).itertext())
    assert "<script>" not in made and '<script>alert("1")</script>\\x1b[2J&amp;' in text
    assert "hold: carried out" in text and "learning is held" in text


# -- its figures --------------------------------------------------------------------------------------------------------------


def test_losses_are_those_of_the_fold_and_looking_on_changes_nothing(turned: MemoryFlow) -> None:
    found = asked(turned)
    alone = replay(pumps(), log_of(turned), "pumps.samples")
    whole = found.whole()
    assert whole["labels"] == alone.counts.joined
    assert whole["live"] == pytest.approx(alone.counts.live_loss / alone.counts.joined)
    assert whole["base"] == pytest.approx(alone.counts.base_loss / alone.counts.joined)
    assert found.live is not None and found.live.committed == alone.experts.committed.version
    means = found.means
    assert sum(one.labels for one in means) == whole["labels"]
    summed = sum(one.live * one.labels for one in means)
    assert summed == pytest.approx(alone.counts.live_loss)
    assert all(sum(one.of.values()) == pytest.approx(1.0) for one in found.weights)
    assert all(found.start <= one.at < found.stop for one in found.weights)


def test_the_cost_of_an_incident_is_what_was_lost_beyond_the_days_before(turned: MemoryFlow) -> None:
    found = asked(turned)
    [one] = found.incidents
    cost = found.costs[one.id]
    losses = found.losses
    inside = (losses.at >= one.since) & (losses.at < one.until(found.stop))
    before = (losses.at >= one.since - 7 * DAY) & (losses.at < one.since)
    assert cost is not None and cost.labels == int(inside.sum()) and cost.labels_before == int(before.sum())
    expected = float(losses.live[inside].sum() - losses.live[before].mean() * inside.sum())
    assert cost.nats == pytest.approx(expected)
    assert cost.committed == pytest.approx(float(np.nanmean(losses.committed[inside])))


def test_other_tasks_have_their_losses_and_a_stream_without_labels_has_none() -> None:
    """Of numbers the loss is that of the likelihood that was given to what came."""
    label = Label(DELIVERED, lambda event: event["late"], wait="6h", fields=("late",))
    numbers = parcels(label=label, model=preprocessing.StandardScaler() | linear_model.LinearRegression())
    unlabelled = parcels(label=None, model=anomaly.HalfSpaceTrees(seed=1))
    for of, labelled in ((numbers, True), (unlabelled, False)):
        flow = MemoryFlow(of, partitions=2)
        flow.feed(outs(parcel_events(400)))
        flow.settle()
        found = report(of, log=log_of(flow), settings=Settings())
        alone = replay(of, log_of(flow), "parcels.samples")
        text = " ".join(parsed(page(found)).itertext())
        whole = found.whole()
        if labelled:
            assert whole["labels"] == alone.counts.joined > 300
            assert whole["live"] == pytest.approx(alone.counts.live_loss / alone.counts.joined)
            assert whole["committed"] is not None and len(found.weights) > 10
        else:
            assert whole["labels"] == 0 and "No labels came" in text


def test_of_an_incident_the_named_input_comes_first_with_the_shares_of_the_log(broken: MemoryFlow) -> None:
    [alert] = {data.episode for data in told(broken)}
    found = asked(broken, episode=alert)
    first = found.shares[0]
    assert found.of is not None and first.name == "flow" and first.reach is not None
    (low, high), (least, most) = first.reach
    assert high < 10 and most > 1_000 and least < -1_000 and low > -10
    samples = [decode_entry(record.value or b"") for record in everything(log_of(broken), "pumps.samples")]
    (start_ms, stop_ms) = first.spans[1]
    rows = [one.x[0] for one in samples if isinstance(one, Sample) and start_ms <= one.at < stop_ms]
    assert first.samples[1] == len(rows) and first.every == (1, 1)
    upper = float(re.split("[(,]", first.bins[-1])[1])
    above = sum(isinstance(value, float) and value > upper for value in rows) / len(rows)
    assert first.window[-1] == pytest.approx(above)
    assert sum(first.window) == pytest.approx(1.0) and sum(first.reference) == pytest.approx(1.0)
    assert "values outside the learned range of flow" in " ".join(found.story(found.of))


def test_a_range_is_cut_out_and_json_holds_the_figures(turned: MemoryFlow) -> None:
    whole = asked(turned)
    first, last = START_MS + 2 * DAY, START_MS + 3 * DAY
    part = asked(turned, start=first, stop=last)
    assert (part.start, part.stop) == (first, last) and not part.incidents
    inside = (whole.losses.at >= first) & (whole.losses.at < last)
    assert part.whole()["live"] == pytest.approx(float(whole.losses.live[inside].mean()))
    assert part.positions[1] <= whole.positions[1]
    json.dumps(part.as_json(), allow_nan=False)
    shown = json.loads(json.dumps(whole.as_json(), allow_nan=False))
    assert shown["incidents"][0]["episode"] == whole.incidents[0].id and shown["incidents"][0]["story"]


def test_what_was_done_stands_in_the_order_in_which_it_followed(turned: MemoryFlow) -> None:
    found = asked(turned)
    [one] = found.incidents
    lanes = [step.lane for step in found.done(one)]
    asked_at = lanes.index("decided")
    assert lanes[asked_at - 1 : asked_at + 4] == ["found", "decided", "commanded", "in place", "found"]
    reasons = [step.said for step in found.done(one)]
    assert len(set(reasons)) == len(reasons), "a reason stands once"


# -- what cannot be shown -----------------------------------------------------------------------------------------------------


def test_an_unknown_incident_is_answered_with_those_there_are(turned: MemoryFlow) -> None:
    [one] = asked(turned).incidents
    with pytest.raises(
        CannotReport, match=f"no incident 'nope' of 'pumps'; there are: {one.id} \\(lead loss"
    ):
        asked(turned, episode="nope")
    quiet = MemoryFlow(parcels(), partitions=2)
    quiet.feed(outs(parcel_events(50)))
    quiet.settle()
    with pytest.raises(CannotReport, match="tell of no incident of 'parcels'"):
        report(parcels(), episode="x", log=log_of(quiet), settings=Settings())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": 5, "stop": 5}, "nothing lies between"),
        ({"start": "yesterday"}, "neither milliseconds"),
        ({"stop": START_MS - HOUR}, "no sample in this range: its samples are of 14 Nov 2023"),
        ({"start": START_MS + 1_000 * DAY}, "no sample in this range"),
    ],
)
def test_a_range_that_holds_nothing_is_said(options: Any, words: str, turned: MemoryFlow) -> None:
    with pytest.raises(CannotReport, match=words):
        asked(turned, **options)


def test_a_pipeline_that_never_ran_has_no_history() -> None:
    with pytest.raises(CannotReport, match=r"topic 'parcels.samples' does not exist"):
        report(parcels(), log=MemoryLog(), settings=Settings())


def test_a_log_whose_start_is_gone_is_said_to_be_one(turned: MemoryFlow) -> None:
    lived = flowed(2, EVENTS)
    log_of(lived).trim("pumps.samples", 0, 3_000)
    found = asked(lived)
    assert "records 0 to 2,999 of pumps.samples are gone" in found.notes[0]
    assert "are gone" in " ".join(parsed(page(found)).itertext())


# -- the command ----------------------------------------------------------------------------------------------------------------


def test_the_command_writes_the_page_and_prints_the_figures(
    turned: MemoryFlow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "open_log", lambda settings: log_of(turned))
    monkeypatch.setattr(MemoryLog, "close", lambda log: None, raising=False)
    file = tmp_path / "pumps.py"
    file.write_text("from tests.stream.roles.test_stories import pumps\n\npipeline = pumps()\n")
    out = tmp_path / "report.html"
    assert cli.main(["report", str(file), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert (
        f"{out}: 1 incident, {asked(turned).whole()['labels']:,} labels" in printed.out
        and "folding it again: " in printed.err
    )
    [one] = asked(turned).incidents
    assert one.id in " ".join(parsed(out.read_text()).itertext())
    assert cli.main(["report", str(file), "--episode", one.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episode"] == one.id
    assert cli.main(["report", str(file), "--episode", "nope", "--out", str(out)]) == 2
    assert one.id in capsys.readouterr().err
    assert cli.main(["report", str(file)]) == 2
    assert "--out FILE" in capsys.readouterr().err
