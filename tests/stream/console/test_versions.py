"""The page of versions: figures of `penstock models`, the tree, and two models on the same labels."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from penstock.features.redis.store import StoreUnavailable
from penstock.monitors.losses.comparison import LEAST_BLOCKS, compare_blocks
from penstock.stream.console.lineage import Node, put_in_place, tree
from penstock.stream.console.versus import BASE, LIVE, chart, choices, means, versus
from penstock.stream.history_record import Counted, ExpertThen, HistoryRecord
from penstock.stream.messages import ExpertShown, LiveModel
from penstock.stream.models.version import BadEnvelope, Version
from penstock.stream.operate import expert_lines, version_lines
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.console.seen import browser, states_of
from tests.stream.console.test_pages import Outline, text_of
from tests.stream.console.year import console_of
from tests.stream.generated import parcels
from tests.stream.roles.test_stories import CHANGED_AT, flowed

NAME = "pumps"


@pytest.fixture(scope="module")
def flow() -> MemoryFlow:
    """The world turned round: a model was committed in the place of another."""
    return flowed(1, CHANGED_AT)


def block(
    number: int, losses: dict[str, float | None], labels: int = 500, judged: int | None = None
) -> HistoryRecord:
    """A block of labels in which these models lost this; `judged` is of all of them."""
    experts = [
        ExpertThen(
            version=name,
            kind="base" if name == BASE else "new",
            weight=0.5,
            judged=judged or labels,
            loss=loss,
        )
        for name, loss in losses.items()
    ]
    return HistoryRecord(
        id=str(number), pipeline=NAME, kind="labels", task="binary", position=(number + 1) * 1_000, at=(number + 1) * 60_000,
        since_position=number * 1_000, since=number * 60_000, recipe="", live="a", leader="a", committed="a",
        counts=Counted(joined=labels), loss=0.5, base_loss=0.7, experts=experts,
    )  # fmt: skip


def version_of(name: str, parent: str | None = None, **more: Any) -> Version:
    """A stored version."""
    given = {
        "kind": "copy",
        "position": 1,
        "join_from": 0,
        "at": 1,
        "labels": 1,
        "recipe": "",
        "digest": "d",
        **more,
    }
    return Version(id=name, pipeline=NAME, parent=parent, **given)


def every(nodes: list[Node]) -> list[Node]:
    return [found for one in nodes for found in (one, *every(one.children))]


# -- penstock models ---------------------------------------------------------------------------------------------------------


def test_both_tables_are_those_of_penstock_models(flow: MemoryFlow) -> None:
    states = states_of(flow)
    live = states.pipelines[NAME].live
    assert live is not None
    page = browser(flow, states).get(f"/pipelines/{NAME}/versions").text
    part = page[page.index('id="live_models"') :]
    rows = [
        tuple(text_of(cell).strip() for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row))
        for row in re.findall(r"<tr>(.*?)</tr>", part, flags=re.S)
    ]
    assert [row for row in rows if row in expert_lines.rows(live)] == expert_lines.rows(live)
    versions = flow.models.versions()
    document = version_lines.document(live)
    wanted = [tuple(row[1:]) for row in version_lines.rows(versions, document)]
    assert versions and [row for row in rows if row in wanted] == [
        tuple(re.sub(r"\\s+", " ", cell) for cell in row) for row in wanted
    ]
    for line in expert_lines.table(live):
        assert line.split()[0] in text_of(part)


def test_the_states_of_stored_versions_are_those_that_learn_gives_them(flow: MemoryFlow) -> None:
    live, fold = states_of(flow).pipelines[NAME].live, flow.learn.fold
    assert live is not None and fold is not None
    assert version_lines.document(live)["states"] == fold.in_use()
    assert version_lines.document(None) == {}


@pytest.mark.parametrize(
    "error", [StoreUnavailable("refused", "127.0.0.1:1", "start it"), BadEnvelope("forged"), OSError("gone")]
)
def test_where_the_store_cannot_be_read_the_rest_is_there(flow: MemoryFlow, error: Exception) -> None:
    class Away:
        def versions(self) -> list[Version]:
            raise error

    states = states_of(flow)
    console = console_of(states, {NAME: flow.pipeline}, sources=SimpleNamespace(store=Away()))
    said = text_of(TestClient(console).get(f"/pipelines/{NAME}/versions").text)
    live = states.pipelines[NAME].live
    assert live is not None and f"Stored versions are not shown: {error}" in said
    assert all(expert_lines.kind_in_words(one.kind) in said for one in live.experts)


def test_without_a_secret_signatures_are_not_verified_and_the_page_says_so(flow: MemoryFlow) -> None:
    from penstock.stream.process.settings import Settings

    console = console_of(states_of(flow), {NAME: flow.pipeline}, sources=Settings())
    said = text_of(TestClient(console).get(f"/pipelines/{NAME}/versions").text)
    assert "PENSTOCK_SECRET is not set for this console" in said


# -- the tree --------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(-1, 14)), max_size=14))
def test_each_version_stands_in_the_tree_once_under_its_parent(pairs: list[tuple[int, int]]) -> None:
    versions = {
        name: version_of(f"v{name}", None if of < 0 else f"v{of}", position=name) for name, of in pairs
    }
    roots = tree(list(versions.values()), None)
    nodes = every(roots)
    assert len({one.id for one in nodes}) == len(nodes)
    assert {one.id for one in nodes} == {
        name for one in versions.values() for name in (one.id, one.parent) if name is not None
    }
    for one in nodes:
        for child in one.children:
            assert child.parent == one.id
    assert [one.position or 0 for one in roots] == sorted(one.position or 0 for one in roots)


def test_the_tree_says_what_made_each_and_what_it_is_now() -> None:
    live = LiveModel(
        pipeline=NAME, version="v2", why="", at=9, position=9, recipe="", committed="v1", previous="v0", experts=[
            ExpertShown(version="base", kind="base", weight=0.1),
            ExpertShown(version="v1", kind="first", weight=0.2, learned=70),
            ExpertShown(version="v2", kind="frozen", weight=0.7, parent="v1", born_at=5, born_position=5),
        ],
    )  # fmt: skip
    stored = [
        version_of("v1", "v0", digest="one"),
        version_of("name/best", "v1", digest="one", author="ann"),
        version_of("name/old", "gone", digest="two"),
        version_of("import-x", "x", kind="imported", author="kim", why="from elsewhere"),
        version_of("retrain-7", None, kind="retrained", author="policy"),
    ]
    nodes = {one.id: one for one in every(tree(stored, live))}
    assert set(nodes) == {"v0", "v1", "v2", "gone", "x", "import-x", "retrain-7"}, (
        "a name is no version, nor is the base rate"
    )
    assert (nodes["v1"].now, nodes["v1"].parent, nodes["v1"].names, nodes["v1"].labels) == (
        "committed",
        "v0",
        ["best"],
        70,
    )
    assert (nodes["v2"].now, nodes["v2"].parent, nodes["v2"].what) == ("leads", "v1", "a frozen copy")
    assert (nodes["v0"].now, nodes["v0"].what) == ("committed before", "no longer kept")
    assert nodes["gone"].names == ["old"] and nodes["import-x"].author == "kim"
    assert (nodes["import-x"].what, nodes["retrain-7"].what) == (
        "brought in from a file",
        "made by a retrain",
    )
    assert [one.word for one in (nodes["v2"], nodes["retrain-7"], nodes["x"])] == [
        "leads",
        "kept",
        "no longer kept",
    ]


def test_what_was_put_in_place_is_told_with_its_reason(flow: MemoryFlow) -> None:
    state = states_of(flow).pipelines[NAME]
    [found] = put_in_place(state)
    assert state.live is not None and found.version == state.live.committed
    said = text_of(browser(flow).get(f"/pipelines/{NAME}/versions").text)
    assert found.head in said and found.said in said and f"@{found.position:,}" in said


# -- two on the same labels ----------------------------------------------------------------------------------------------------


def test_two_are_compared_on_the_labels_that_both_were_judged_on() -> None:
    chance = random.Random(3)
    rows = [(chance.gauss(0.4, 0.05), chance.gauss(0.5, 0.05)) for _ in range(60)]
    blocks = [block(number, {"a": one, "b": other}) for number, (one, other) in enumerate(rows)]
    apart = [
        block(60, {"a": 9.0}),
        block(61, {"a": 9.0, "b": 1.0}, judged=499),
        block(62, {"a": 9.0, "b": None}),
    ]
    found = versus([*blocks, *apart], "a", "b")
    assert found is not None and found.labels == 60 * 500 and found.positions == (0, 60_000)
    one, other = np.array(rows).T
    assert found.losses == (pytest.approx(one.mean()), pytest.approx(other.mean()))
    naive = compare_blocks(one - other, 500)
    assert found.compared.difference == pytest.approx(naive.difference)
    assert (found.compared.low, found.compared.high) == (pytest.approx(naive.low), pytest.approx(naive.high))
    assert "a lost" in found.verdict and "less than b" in found.verdict and "beyond chance" in found.verdict
    turned = versus(blocks, "b", "a")
    assert turned is not None and turned.compared.difference == pytest.approx(-naive.difference)
    assert turned.verdict == found.verdict


def test_a_short_block_counts_by_its_labels_and_not_in_the_interval() -> None:
    blocks = [block(number, {"a": 0.4 + number % 2 / 50, "b": 0.4}) for number in range(30)]
    found = versus([*blocks, block(30, {"a": 5.0, "b": 0.0}, labels=10)], "a", "b")
    assert found is not None and found.labels == 30 * 500 + 10
    assert found.losses[0] == pytest.approx((30 * 500 * 0.41 + 10 * 5.0) / 15_010)
    assert found.compared.low is not None and found.compared.high is not None
    middle = (found.compared.low + found.compared.high) / 2
    assert middle == pytest.approx(found.losses[0] - found.losses[1])
    assert found.compared.high - found.compared.low < 0.02


def test_too_few_blocks_give_no_interval_and_say_so() -> None:
    blocks = [block(number, {"a": 0.4, "b": 0.5}) for number in range(LEAST_BLOCKS - 1)]
    found = versus(blocks, "a", "b")
    assert found is not None and found.compared.low is None
    assert "too few blocks of labels to say how sure that is" in found.verdict
    assert versus(blocks, "a", "nobody") is None and versus([], "a", "b") is None


def test_evidence_that_is_too_little_to_act_on_is_called_that() -> None:
    chance = random.Random(3)
    blocks = [
        block(number, {"a": chance.gauss(0.4, 0.05), "b": chance.gauss(0.45, 0.05)}) for number in range(60)
    ]
    found = versus(blocks, "a", "b")
    assert (
        found is not None
        and found.compared.high is not None
        and found.compared.high < 0
        and not found.compared.clear
    )
    assert "short of what one acts on: an e-value of 15, not 20" in found.verdict


def test_what_chance_explains_is_called_that() -> None:
    chance = random.Random(4)
    blocks = [
        block(number, {"a": chance.gauss(0.4, 0.1), "b": chance.gauss(0.4, 0.1)}) for number in range(80)
    ]
    found = versus(blocks, "a", "b")
    assert found is not None and "that can be chance" in found.verdict
    assert found.compared.low is not None and f"{found.compared.low:+.4f}" in found.verdict


def test_means_stand_beside_the_live_predictions_on_the_same_labels() -> None:
    blocks = [block(0, {"a": 0.2}, labels=100), block(1, {"a": 0.6, "b": 0.3}, labels=300)]
    found = {one.version: one for one in means(blocks)}
    assert (found["a"].labels, found["a"].loss) == (400, pytest.approx(0.5))
    assert (found["b"].labels, found["b"].live, found["b"].base) == (300, 0.5, 0.7)
    assert [name for name, _ in choices(blocks)] == [LIVE, BASE, "a", "b"]


def test_the_form_compares_what_it_names_and_something_where_it_names_nothing(flow: MemoryFlow) -> None:
    states = states_of(flow)
    state = states.pipelines[NAME]
    assert state.live is not None
    client, path = browser(flow, states), f"/pipelines/{NAME}/versions"
    found = versus(list(state.blocks), "v0", BASE)
    assert found is not None
    page = client.get(f"{path}?a=v0&b=base&span=all").text
    said = text_of(page)
    assert found.verdict in said and f"{found.losses[0]:.4f} nats a label" in said
    assert re.search(r'<option value="v0" selected>', page) and re.search(
        r'<option value="base" selected>', page
    )
    drawn = chart(list(state.blocks), "v0", BASE)
    assert len(drawn.x) == len(drawn.series[0].values) and all(row[-1] in said for row in drawn.rows)
    for query in ("", "?a=nothing&b=&span=ever", "?a=v0&b=v0"):
        assert client.get(path + query).status_code == 200
    assert f"penstock promote {NAME} --version v0 --pin" in said and "penstock models export FILE v0" in said
    assert "penstock what-if" in said


def test_the_page_of_versions_stands_by_itself_and_says_what_others_wrote_as_text(flow: MemoryFlow) -> None:
    evil = "<img src=x>"
    states = states_of(flow)
    store = SimpleNamespace(versions=lambda: [version_of(evil, evil + "2", why=evil, author=evil, kind=evil)])
    console = console_of(states, {NAME: flow.pipeline}, sources=SimpleNamespace(store=store))
    for path in (f"/pipelines/{NAME}/versions", f"/pipelines/{NAME}/versions?a={evil}"):
        page = TestClient(console).get(path).text
        outline = Outline(page)
        assert outline.open == [] and len(set(outline.ids)) == len(outline.ids) and outline.inline == []
        steps = zip(outline.headings, outline.headings[1:], strict=False)
        assert outline.headings.count(1) == 1 and all(after - before <= 1 for before, after in steps)
        assert "<img" not in page and "&lt;img" in page
        assert set(console.renderer._live("versions")) <= set(outline.ids)


def test_a_pipeline_without_versions_or_labels_has_a_page() -> None:
    from penstock.stream.console.state import States

    client = TestClient(console_of(States(["parcels"]), {"parcels": parcels()}))
    said = text_of(client.get("/pipelines/parcels/versions").text)
    assert "There are no versions yet" in said and "no labels yet" in said
    for page in ("episodes", "audit"):
        assert client.get(f"/pipelines/parcels/{page}").status_code == 200


def test_what_a_live_model_says_stays_as_it_was_told(flow: MemoryFlow) -> None:
    """Told twice, as after a crash, it is there once."""
    state = states_of(flow).pipelines[NAME]
    before = list(state.lived)
    assert before == sorted(before, key=lambda one: one.position) and state.live == before[-1]
    from penstock.stream.console.state import Told

    state.control(Told(1, "control.models", 9_999, msgspec.structs.replace(before[-1])))
    assert list(state.lived) == before


@pytest.mark.parametrize("name", ["episodes", "episode", "versions", "audit", "audit_record"])
def test_live_parts_are_drawn_by_themselves_as_in_their_page(flow: MemoryFlow, name: str) -> None:
    from penstock.stream.console.audit import entries
    from penstock.stream.console.episodes import episodes
    from penstock.stream.console.page import Asked

    states = states_of(flow)
    state = states.pipelines[NAME]
    console = console_of(states, {NAME: flow.pipeline})
    path = {"pipeline": NAME, "episode": episodes(state)[0].id, "record": entries(state)[0].id}
    page = next(one for one in console.renderer.pages if one.name == name)
    variables = console.renderer.variables(page, Asked(states, {NAME: flow.pipeline}, 1, path))
    variables |= {"live": "", "read_to": ""}
    whole = console.renderer.whole(page, variables)
    parts = console.renderer.parts(page, variables)
    assert len(parts) > 1 and all(part.strip() in whole for part in parts.values())
