"""The pages about episodes: they say what `penstock report` says, of flows with an incident that the roles lived through."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from penstock.stream.console.episodes import (
    chosen,
    cost_lines,
    cost_so_far,
    done_of,
    episodes,
    placed,
    since_position,
    story_of,
)
from penstock.stream.console.evidence import findings, spread, wilson
from penstock.stream.console.page import NotFound
from penstock.stream.console.shares import bins, compare
from penstock.stream.console.state import PipelineState, States
from penstock.stream.learn.entries import entries as entries_of
from penstock.stream.messages import ControlEvent, LiveModel, encode_json
from penstock.stream.operate.control_lines import crossed
from penstock.stream.operate.reporting.incidents import cost_in_words
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.roles.report import report
from penstock.stream.story_records import EpisodeSummary
from tests.stream.console.seen import browser, states_of
from tests.stream.console.test_pages import Outline, text_of
from tests.stream.roles.test_report import BROKEN, log_of
from tests.stream.roles.test_stories import CHANGED_AT, EVENTS, flowed

NAME = "pumps"


@pytest.fixture(scope="module")
def turned() -> MemoryFlow:
    """The world turned round: one story, one commitment."""
    return flowed(1, CHANGED_AT)


@pytest.fixture(scope="module")
def broken() -> MemoryFlow:
    """One pump's flow was nonsense for a while."""
    return flowed(1, EVENTS, BROKEN)


@pytest.fixture(params=["turned", "broken"])
def flow(request: pytest.FixtureRequest) -> MemoryFlow:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, MemoryFlow)
    return found


def told_again(
    states: States, event: ControlEvent, topic: str = "control.alerts", **data: Any
) -> ControlEvent:
    """One more event like this one, told last."""
    number = states.positions.get(topic, 0)
    made = msgspec.structs.replace(
        event, id=f"made-{number}", data=msgspec.structs.replace(event.data, **data)
    )
    states.step(topic, number, 10**13 + number, encode_json(made))
    return made


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# -- as penstock report says it ------------------------------------------------------------------------------------------------


def test_the_story_is_the_one_of_the_report_without_what_it_cost(turned: MemoryFlow) -> None:
    state = states_of(turned).pipelines[NAME]
    lived = report(turned.pipeline, log=log_of(turned), settings=Settings())
    assert lived.incidents
    for incident in lived.incidents:
        found = chosen(state, incident.id)
        assert found.incident is not None and found.incident == incident
        own, theirs = story_of(found.incident, done_of(state, incident.id)), lived.story(incident)
        assert [line for line in theirs if line in own] == own
        left = [line for line in theirs if line not in own]
        assert len(left) <= 2 and all("labels" in line for line in left), "what it cost is said elsewhere"


def test_every_step_of_it_is_the_reports(turned: MemoryFlow) -> None:
    state = states_of(turned).pipelines[NAME]
    lived = report(turned.pipeline, log=log_of(turned), settings=Settings())
    for incident in lived.incidents:
        assert [one[0:1] + one[2:] for one in done_of(state, incident.id)] == [
            one[0:1] + one[2:] for one in lived.done(incident)
        ], "but for the clock"


def test_the_page_of_an_episode_says_its_story_and_every_step_of_it(flow: MemoryFlow) -> None:
    """`broken` was lived with another guard than it is folded with again: what was live is what the topics say."""
    client, state = browser(flow), states_of(flow).pipelines[NAME]
    assert episodes(state)
    for episode in episodes(state):
        incident = episode.incident
        assert incident is not None
        said = text_of(client.get(f"/pipelines/{NAME}/episodes/{incident.id}").text)
        done = done_of(state, incident.id)
        assert {one.lane for one in done} == {"found", "decided", "commanded", "in place"}
        for line in story_of(incident, done):
            assert words(line) in said
        for one in done:
            assert one.head in said and words(one.said) in said
        for event in incident.events:
            assert event.data.command in said and words(event.data.reason) in said
            if event.data.state == "firing" and event is incident.first:
                assert crossed(event.data) in said
        assert episode.cost and f"{episode.cost} nats" in said


def test_inputs_are_compared_as_the_report_compares_them(flow: MemoryFlow) -> None:
    [incident, *_] = report(flow.pipeline, log=log_of(flow), settings=Settings()).incidents
    theirs = report(flow.pipeline, log=log_of(flow), settings=Settings(), episode=incident.id).shares
    topic = f"{NAME}.samples"
    low, high = flow.log.bounds([(topic, 0)])[(topic, 0)]
    own = compare(flow.pipeline, incident, entries_of(flow.log, topic, low, high), ends=True)
    assert own.shares and not own.cut
    assert {one.name: one for one in own.shares} == {
        one.name: one for one in theirs if one.name in flow.pipeline.vector_names
    }
    said = text_of(browser(flow).get(f"/pipelines/{NAME}/episodes/{incident.id}").text)
    for one in own.shares:
        rows = bins(one)
        assert (sum(row.before for row in rows), sum(row.within for row in rows)) == one.samples
        assert f"{one.name} PSI {one.psi:.3g}, by chance {one.by_chance:.2g}" in said


def test_the_records_read_are_bounded_and_the_page_says_so(broken: MemoryFlow, monkeypatch: Any) -> None:
    from penstock.stream.console.reading import samples

    state = states_of(broken).pipelines[NAME]
    incident = episodes(state)[-1].incident
    assert incident is not None
    onset = since_position(incident)
    assert onset is not None
    monkeypatch.setattr(samples, "MOST_RECORDS", 400)
    said = text_of(browser(broken).get(f"/pipelines/{NAME}/episodes/{incident.id}").text)
    assert "as far as these reach" in said and f"@{onset - 400:,}" in said
    [last] = re.findall(r"to @([\d,]+), as far", said)
    assert int(last.replace(",", "")) <= onset + 400


def test_where_the_samples_log_cannot_be_read_the_page_says_why_and_the_rest(turned: MemoryFlow) -> None:
    from tests.stream.console.year import console_of

    states = states_of(turned)
    [one, *_] = episodes(states.pipelines[NAME])
    client = TestClient(console_of(states, {NAME: turned.pipeline}))
    found = client.get(f"/pipelines/{NAME}/episodes/{one.id}")
    assert found.status_code == 200 and "the samples log is not read here" in text_of(found.text)


# -- what it cost ----------------------------------------------------------------------------------------------------------------


def test_what_an_open_incident_costs_is_what_the_report_says_of_the_hours_that_are_told(
    turned: MemoryFlow,
) -> None:
    """Labels of this flow come with their samples, so both go by the same times."""
    state = states_of(turned).pipelines[NAME]
    lived = report(turned.pipeline, log=log_of(turned), settings=Settings())
    [incident] = lived.incidents
    own = cost_so_far(state, incident)
    assert own is not None and own.nats is not None and own.before is not None
    hours = [one for one in state.past.hours if (one.since + one.at) // 2 >= incident.since]
    within = lived.losses.within(hours[0].since, hours[-1].at)
    before = lived.losses.within(0, hours[0].since)
    assert own.labels == len(within.at) == sum(one.labels for one in hours) and own.labels_before == len(
        before.at
    )
    for value, losses in ((own.live, within.live), (own.base, within.base), (own.before, before.live)):
        assert value == pytest.approx(float(losses.mean()), abs=2e-6)
    assert own.nats == pytest.approx((own.live - own.before) * own.labels)
    said = " ".join(cost_lines(incident, own))
    assert (
        f"{abs(own.nats):,.0f} nats more in all" in said
        and "How sure that is, is known when it is over" in said
    )


def test_what_was_summed_up_has_its_error_and_no_other_figure_beside_it(broken: MemoryFlow) -> None:
    states = states_of(broken)
    [event, *_] = states.pipelines[NAME].events
    summary = EpisodeSummary(
        until={"at": 9, "position": 9}, length_ms=9, records=9, labels=1_089, excess_nats=-13.2, excess_per_label=-0.012,
        error_nats=70.6,
    )  # fmt: skip
    told_again(states, event, kind="summary", state="over", summary=summary)
    one = chosen(states.pipelines[NAME], event.data.episode)
    assert one.incident is not None and one.cost == cost_in_words(one.incident, None) == "-13 ± 71"
    lines = cost_lines(one.incident, cost_so_far(states.pipelines[NAME], one.incident))
    assert lines[0].startswith("-13 ± 71 nats beyond") and "1,089 labels" in lines[0] and len(lines) == 2
    assert "in all" not in " ".join(lines)


# -- the list --------------------------------------------------------------------------------------------------------------------


def test_what_is_open_comes_first_and_then_the_newest(broken: MemoryFlow) -> None:
    states = states_of(broken)
    event = next(one for one in states.pipelines[NAME].events if one.data.state == "firing")
    for number, (kind, at) in enumerate((("firing", 5), ("suspected", 9), ("firing", 7))):
        told_again(
            states, event, episode=f"e{number}", state=kind, since={"at": at, "position": at},
            detected_at={"at": at, "position": at},
        )  # fmt: skip
    found = episodes(states.pipelines[NAME])
    assert [one.id for one in found if one.id.startswith("e")][:3] == ["e1", "e2", "e0"]
    assert [one.open for one in found] == sorted((one.open for one in found), reverse=True)
    page = browser(broken, states).get(f"/pipelines/{NAME}/episodes").text
    assert page.index("/episodes/e1") < page.index("/episodes/e2") < page.index("/episodes/e0")
    said = text_of(page)
    assert "of these 1 only suspected" in said and "never more than a suspicion" in said


def test_a_suspicion_that_nothing_came_of_is_withdrawn_and_is_no_incident(broken: MemoryFlow) -> None:
    states = states_of(broken)
    event = states.pipelines[NAME].events[0]
    told_again(states, event, episode="calm", state="suspected", kind="adwin")
    told_again(states, event, episode="calm", state="withdrawn", kind="adwin")
    one = chosen(states.pipelines[NAME], "calm")
    assert (one.state, one.incident, one.open) == ("withdrawn", None, False)
    found = browser(broken, states).get(f"/pipelines/{NAME}/episodes/calm")
    assert found.status_code == 200 and "withdrawn" in text_of(found.text)


def test_an_episode_is_found_by_as_much_of_its_id_as_is_needed(broken: MemoryFlow) -> None:
    states = states_of(broken)
    state = states.pipelines[NAME]
    event = state.events[0]
    for name in ("same-1", "same-2"):
        told_again(states, event, episode=name)
    assert chosen(state, "same-1").id == "same-1"
    with pytest.raises(NotFound, match="may be any of 2 episodes"):
        chosen(state, "same")
    with pytest.raises(NotFound, match="no episode 'other' of 'pumps' is known here; there are: "):
        chosen(state, "other")
    client = browser(broken, states)
    assert client.get(f"/pipelines/{NAME}/episodes/other").status_code == 404
    assert client.get(f"/pipelines/none/episodes/{event.data.episode}").status_code == 404
    with pytest.raises(NotFound, match="nothing was found yet"):
        chosen(PipelineState(NAME), "other")


def test_dead_letters_have_their_own_times_and_no_samples_around_them(broken: MemoryFlow) -> None:
    states = states_of(broken)
    event = states.pipelines[NAME].events[0]
    place = {"at": 1_700_000_000_000, "partition": 0, "offset": 7}
    told_again(
        states, event, episode="letters", kind="dead-letters", state="firing", since=place, detected_at=place,
        effect=0.25, detector={"params": 3},
    )  # fmt: skip
    found = browser(broken, states).get(f"/pipelines/{NAME}/episodes/letters")
    said = text_of(found.text)
    assert found.status_code == 200 and "the records’ own time" in said and "25.0% of the records" in said
    assert "it is about no stretch of samples" in said


# -- evidence --------------------------------------------------------------------------------------------------------------------


def test_evidence_says_since_when_how_late_how_large_and_how_sure(broken: MemoryFlow) -> None:
    state = states_of(broken).pipelines[NAME]
    one = next(one for one in episodes(state) if one.first.data.kind == "range")
    finding = next(each for each in findings(one.events) if each.kind == "range")
    params = finding.first.data.detector["params"]
    low, high = wilson(params["violations"], params["samples"])
    assert f"{low:.1%} to {high:.1%} (95 % interval)" in finding.spread
    assert (
        finding.effect.endswith("% of the records") and finding.late_ms is not None and finding.late_ms >= 0
    )
    assert (finding.since, finding.position) == (
        finding.first.data.since["at"],
        finding.first.data.since["position"],
    )
    assert {"violations", "low", "high"} <= {name for name, _ in finding.told}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"scale": 0.1, "block_labels": 250}, "the mean of 250 labels usually strays by ± 0.1"),
        ({"scale": 0.1, "block_labels": 1}, "one step usually strays by ± 0.1"),
        ({"samples": 600, "reference_samples": 20_000}, "p 0.01; 600 samples beside 20,000"),
        ({"violations": 3, "samples": 12}, "3 of 12 records: 8.9% to 53.2% (95 % interval)"),
        ({"violations": True, "samples": "many"}, ""),
        ({"violations": 1, "samples": 0}, ""),
        ([], ""),
    ],
)
def test_how_sure_an_effect_is_is_said_where_its_event_says_so(
    broken: MemoryFlow, params: Any, said: str
) -> None:
    event = states_of(broken).pipelines[NAME].events[0]
    data = msgspec.structs.replace(event.data, detector={"params": params}, statistic=0.01)
    assert spread(msgspec.structs.replace(event, data=data)) == said


def test_a_command_stands_where_the_first_live_model_after_it_names_it(turned: MemoryFlow) -> None:
    state = states_of(turned).pipelines[NAME]
    known = placed(state)
    assert known and all(
        any(live.position == one.position and one.command.id in live.applied for live in state.lived)
        for one in known
    )
    # What the first kept live model names already was carried out nobody knows when.
    last: LiveModel = state.lived[-1]
    assert {one.command.id for one in known} <= set(last.applied)
    state.lived.clear()
    state.lived.append(last)
    assert placed(state) == []


# -- the pages themselves ------------------------------------------------------------------------------------------------------


def test_pages_of_episodes_stand_by_themselves_and_say_what_others_wrote_as_text(broken: MemoryFlow) -> None:
    states = states_of(broken)
    evil = "<img src=x onerror=alert(1)></script>"
    event = states.pipelines[NAME].events[0]
    told_again(
        states, event, episode="evil", state="firing", reason=evil, command=evil, kind=evil, causes=[evil],
        detector={"name": evil, "params": {evil: evil}},
    )  # fmt: skip
    client = browser(broken, states)
    for path in ("episodes", "episodes/evil", f"episodes/{event.data.episode}"):
        page = client.get(f"/pipelines/{NAME}/{path}").text
        outline = Outline(page)
        assert outline.open == [] and len(set(outline.ids)) == len(outline.ids) and outline.inline == []
        assert outline.headings[0] == 1 and outline.headings.count(1) == 1
        steps = zip(outline.headings, outline.headings[1:], strict=False)
        assert all(after - before <= 1 for before, after in steps)
        assert "<img" not in page
        name = "episode" if "/" in path else "episodes"
        wanted = set(client.app.renderer._live(name)) - {"live_table_losses"}  # type: ignore[attr-defined]
        assert wanted <= set(outline.ids)
        for table in re.findall(r"<table.*?</table>", page, flags=re.S):
            assert "<caption" in table and 'scope="col"' in table
