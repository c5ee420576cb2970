"""What a browser is sent: no more than what changed, from where it was, and never an older state than it has seen."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.console.charts import delta
from penstock.stream.console.live import Drawn, Shared, changes, position_of, position_text, stream

rows = st.lists(st.tuples(st.floats(0, 9), st.none() | st.floats(0, 9)), max_size=12)


def data(found: list[tuple[float, float | None]], series: str = "live", spans: Any = ()) -> dict[str, Any]:
    """A chart's data."""
    return {
        "columns": [[one[0] for one in found], [one[1] for one in found]],
        "series": [{"label": series}],
        "spans": list(spans),
    }


def grown(before: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """What the page's script makes of a chart and a delta."""
    start, columns = said["from"], said["columns"]
    more = {name: value for name, value in said.items() if name not in ("from", "columns")}
    if start == 0:
        return {**before, **more, "columns": columns}
    kept = [column[:start] + columns[place] for place, column in enumerate(before["columns"])]
    return {**before, **more, "columns": kept}


@given(rows, rows, st.sampled_from(["live", "base"]), st.sampled_from([(), ("a",)]))
def test_a_delta_makes_the_new_chart_of_the_old_one(
    one: list[Any], other: list[Any], series: str, spans: tuple[str, ...]
) -> None:
    before, after = data(one), data(one[: len(one) // 2] + other, series, spans)
    said = delta(before, after)
    assert (said is None) == (before == after)
    if said is not None:
        assert grown(copy.deepcopy(before), json.loads(json.dumps(said))) == after


def test_one_more_row_is_all_that_is_sent() -> None:
    before = data([(1.0, 0.1), (2.0, 0.2)])
    said = delta(before, data([(1.0, 0.1), (2.0, 0.25), (3.0, 0.3)]))
    assert said == {"from": 1, "columns": [[2.0, 3.0], [0.25, 0.3]]}


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z.:-]{0,20}", fullmatch=True), st.integers(0, 10**15), max_size=5
    ),
    st.integers(0, 10**13),
)
def test_a_position_survives_being_an_id(reached: dict[str, int], looked: int) -> None:
    reached.pop("looked", None)
    assert position_of(position_text(reached, looked)) == {**reached, "looked": looked}


@given(st.text(max_size=50))
def test_whatever_a_browser_says_it_has_seen_is_a_position_or_none(text: str) -> None:
    assert all(isinstance(offset, int) for offset in position_of(text).values())


def collected(events: AsyncIterator[bytes], most: int) -> list[bytes]:
    """The first events of a stream."""

    async def take() -> list[bytes]:
        found: list[bytes] = []
        async for event in events:
            found.append(event)
            if len(found) == most:
                break
        return found

    return asyncio.run(take())


def streamed(drawings: list[Drawn], after: str, ready: Any = lambda wanted: True) -> list[dict[str, Any]]:
    """What is sent while these drawings are the newest, one after the other, each looked at twice."""
    left = [one for one in drawings for _ in range(2)]

    async def newest() -> Drawn:
        return left.pop(0) if len(left) > 1 else left[0]

    stops = iter(range(3 * len(left) + 8))
    events = stream(newest, after, ready, every_s=0, stopping=lambda: next(stops, None) is None)
    said = []
    for event in collected(events, 10_000):
        fields = dict(
            line.split(": ", 1) for line in event.decode().strip().split("\n") if not line.startswith(":")
        )
        if "data" in fields:
            said.append({"id": fields["id"], **json.loads(fields["data"])})
    return said


ONE = Drawn("a:1,looked:1", {"x": "one", "y": "same"}, {"loss": data([(1.0, 0.1)])})
TWO = Drawn("a:2,looked:1", {"x": "two", "y": "same"}, {"loss": data([(1.0, 0.1), (2.0, 0.2)])})


def test_who_has_the_newest_page_is_sent_what_changes_and_nothing_else() -> None:
    assert streamed([ONE, TWO], ONE.position) == [
        {
            "id": TWO.position,
            "parts": {"x": "two"},
            "charts": {"loss": {"from": 1, "columns": [[2.0], [0.2]]}},
        }
    ]


def test_who_comes_with_an_older_position_is_sent_the_whole_newest_state() -> None:
    [said] = streamed([TWO], ONE.position)
    assert said["id"] == TWO.position and said["parts"] == TWO.parts
    assert (
        said["charts"]["loss"]["from"] == 0
        and said["charts"]["loss"]["columns"] == TWO.data["loss"]["columns"]
    )


def test_nothing_is_sent_before_the_topics_were_read_as_far_as_the_browser_has_seen() -> None:
    asked: list[dict[str, int]] = []

    def ready(wanted: dict[str, int]) -> bool:
        asked.append(wanted)
        return len(asked) > 5

    assert [one["id"] for one in streamed([TWO], "a:2,looked:9", ready)] == [TWO.position]
    assert asked[0] == {"a": 2, "looked": 9}
    assert streamed([TWO], "a:2,looked:9", lambda wanted: False) == []


def test_a_drawing_that_looks_the_same_is_not_sent() -> None:
    later = TWO._replace(position="a:3,looked:1")
    assert [one["id"] for one in streamed([ONE, TWO, later], ONE.position)] == [TWO.position]


def test_changes_of_what_was_sent_make_what_is_now() -> None:
    assert changes(ONE, ONE) == {}
    assert changes(ONE, TWO)["parts"] == {"x": "two"}


def test_a_page_is_drawn_once_for_all_who_look_at_it() -> None:
    drawn = []

    def draw() -> Drawn:
        drawn.append(1)
        return ONE

    async def look() -> None:
        shared = Shared()
        await asyncio.gather(*(shared.drawn("page", 7, draw) for _ in range(20)))
        assert len(drawn) == 1
        await asyncio.gather(*(shared.drawn("page", 8, draw) for _ in range(20)))
        assert len(drawn) == 2

    asyncio.run(look())
