"""What a definition that learns in shards may say, which shard is whose, and what is refused with shards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import anomaly, tree

from penstock.stream import cli, topology
from penstock.stream.definitions import DefinitionError, Label, Pipeline, Source
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out, UnknownTopic, partition_for
from penstock.stream.log.shards import ShardLog
from penstock.stream.recipes import check_sharded_alike, definition_document
from penstock.stream.shards import Shards, check_one, log_by_name, log_of, names_of, of_shard, shard_field
from tests.stream.generated import DELIVERED, PAID, cards, parcels

BROKEN: dict[str, tuple[Callable[[], object], str]] = {
    "no shard": (lambda: cards(shards=0, shard_by="card"), "shards must be a whole number from 1 to 256"),
    "too many": (lambda: cards(shards=257, shard_by="card"), "from 1 to 256, not 257"),
    "a truth": (lambda: cards(shards=True, shard_by="card"), "not True"),
    "half a shard": (lambda: cards(shards=2.0, shard_by="card"), "not 2.0"),
    "shards by nothing": (lambda: cards(shards=8), "shards=8 needs shard_by"),
    "a field that is none": (lambda: cards(shards=8, shard_by=""), "shard_by must name a field"),
    "several fields": (lambda: cards(shards=8, shard_by=["card"]), "shard_by must name a field"),
    "challengers": (
        lambda: cards(shards=2, shard_by="card", challengers={"tree": tree.HoeffdingTreeClassifier()}),
        "leave one of the two out",
    ),
    "a label by id whose events may lack the field": (
        lambda: parcels(shards=2, shard_by="weight"),
        "nothing here says that events of 'parcels.delivered', which bring the labels, have the field 'weight' as well",
    ),
    "a label by key that has not the field": (
        lambda: cards(shards=2, shard_by="shop", label=Label(PAID, "fraud", key="card", within="1h")),
        "shard_by='shop' is not in the label's key ('card',)",
    ),
}


@pytest.mark.parametrize(("make", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_shards_that_cannot_be_are_refused_with_what_to_do(make: Callable[[], object], said: str) -> None:
    with pytest.raises(DefinitionError) as found:
        make()
    assert said in str(found.value)


FIELDS: dict[str, tuple[Pipeline, str | None, str | None]] = {
    "the key of both": (parcels(shards=2, shard_by="van"), "van", "van"),
    "a field that a view of the label's source is keyed by": (parcels(shards=2, shard_by="depot"), "depot", "depot"),
    "the id of both": (parcels(shards=2, shard_by="parcel"), "parcel", "parcel"),
    "the id, under another name": (
        parcels(
            views=[], shards=2, shard_by="parcel",
            label=Label(Source("done", id="of", time="at", key="of"), "late"),
        ),
        "parcel", "of",
    ),
    "a field that the label names": (
        parcels(
            shards=2, shard_by="city", label=Label(DELIVERED, lambda e: e["late"] > 1, fields=("late", "city"))
        ),
        "city", "city",
    ),
    "one source": (cards(shards=2, shard_by="shop"), "shop", "shop"),
    "a label's key": (
        cards(shards=2, shard_by="card", label=Label(PAID, "fraud", key="card", within="1h")), "card", "card",
    ),
    "no labels": (
        cards(shards=2, shard_by="shop", label=None, model=anomaly.HalfSpaceTrees()), "shop", "shop",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("pipeline", "of_sample", "of_label"), FIELDS.values(), ids=FIELDS.keys())
def test_both_kinds_of_events_say_their_shard(
    pipeline: Pipeline, of_sample: str | None, of_label: str | None
) -> None:
    assert shard_field(pipeline, pipeline.predict) == of_sample
    assert shard_field(pipeline, pipeline.label.source) == of_label


@given(value=st.one_of(st.text(min_size=1), st.integers()), shards=st.integers(2, 256))
def test_the_shard_is_the_partition_that_kafka_gives_the_text(value: Any, shards: int) -> None:
    found = Shards(cards(shards=shards, shard_by="card")).of(0, {"card": value})
    assert found == partition_for(str(value).encode(errors="surrogatepass"), shards)


def test_one_shard_is_the_pipeline_as_it_always_was() -> None:
    one, said = cards(shard_by="card", shards=1), cards()
    assert one.digest == said.digest and definition_document(one) == definition_document(said)
    assert of_shard(said, 0) is said and names_of(said) == ["cards"]
    assert topology.owned("cards") == topology.owned("cards", shards=1)
    log = MemoryLog()
    log.create("cards.samples", 1)
    assert log_of(log, said) is log_by_name(log, "cards") is log


def test_a_shards_pipeline_has_the_wholes_recipe_and_its_part_of_the_budget() -> None:
    whole = cards(shard_by="card", shards=4, alarms_per_year=2.0)
    one = of_shard(whole, 3)
    assert (one.name, one.digest, one.alarms_per_year) == ("cards.3", whole.digest, 0.5)
    assert (whole.name, whole.alarms_per_year) == ("cards", 2.0)
    assert names_of(whole) == ["cards.0", "cards.1", "cards.2", "cards.3"]
    with pytest.raises(DefinitionError, match="'cards' has no shard 4: its shards are 0 to 3"):
        of_shard(whole, 4)
    with pytest.raises(DefinitionError, match="'cards' learns in one piece: it has no shard 1"):
        of_shard(cards(), 1)


def test_a_shard_has_keys_of_its_own_and_the_pipelines_topics_and_groups() -> None:
    assert topology.samples("cards.3", "eu.") == topology.samples("cards", "eu.") == "eu.cards.samples"
    assert topology.consumer_group("cards.3", "learn", "eu.") == "eu.cards.learn"
    assert topology.deployed("cards.3", "eu.") == "eu.cards.3"
    assert [topic.partitions for topic in topology.owned("cards", shards=8) if topic.partitions > 1] == [8, 8]


def test_a_definition_that_shares_out_otherwise_is_refused() -> None:
    kept = json.loads(definition_document(cards(shard_by="card", shards=4)))
    check_sharded_alike(kept, cards(shard_by="card", shards=4))
    for other, said in (
        (cards(shard_by="shop", shards=4), "in 4 shards by 'card' and now says in 4 shards by 'shop'"),
        (cards(shard_by="card", shards=2), "in 4 shards by 'card' and now says in 2 shards by 'card'"),
        (cards(), "in 4 shards by 'card' and now says in one piece"),
    ):
        with pytest.raises(DefinitionError, match=said):
            check_sharded_alike(kept, other)


def test_a_shards_log_has_that_shard_as_its_only_partition() -> None:
    log = MemoryLog()
    log.create("cards.samples", 3)
    log.create("other", 2)
    here = ShardLog(log, ["cards.samples"], 2)
    here.append([Out("cards.samples", None, b"a", (), 0), Out("other", None, b"b", (), 1)])
    assert log.bounds([("cards.samples", 2), ("cards.samples", 0), ("other", 1)]) == {
        ("cards.samples", 2): (0, 1), ("cards.samples", 0): (0, 0), ("other", 1): (0, 1),
    }  # fmt: skip
    assert here.bounds([("cards.samples", 0)]) == {("cards.samples", 0): (0, 1)}
    assert (here.partitions("cards.samples"), here.partitions("other")) == (1, 2)
    assert here.topic_id("cards.samples") == f"{log.topic_id('cards.samples')}/2"
    assert here.topic_id("other") == log.topic_id("other")
    reader = here.reader({("cards.samples", 0): 0})
    assert [record.value for record in reader.poll(9, 0.0)] == [b"a"]
    assert reader.positions() == reader.high_watermarks() == {("cards.samples", 0): 1}
    with pytest.raises(UnknownTopic):
        here.bounds([("cards.samples", 1)])
    with pytest.raises(ValueError, match="joins no group by itself"):
        here.member("g", ["cards.samples"])


def test_what_is_about_one_model_asks_which() -> None:
    log = MemoryLog()
    log.create("cards.samples", 3)
    with pytest.raises(DefinitionError, match="'cards' learns in 3 shards.*say which, such as 'cards.0'"):
        log_by_name(log, "cards")
    with pytest.raises(DefinitionError, match="'cards' has no shard 3"):
        log_by_name(log, "cards.3")
    assert isinstance(log_by_name(log, "cards.2"), ShardLog)
    with pytest.raises(
        DefinitionError, match="The serve role answers with one model, and 'cards' has one in each"
    ):
        check_one(cards(shard_by="card", shards=2), "The serve role answers with")


DEFINITION = """
from river import linear_model
from penstock import Label, Pipeline, Source
paid = Source("paid", id="payment", time="paid_at", key="card")
pipeline = Pipeline("cards", views=[], predict=paid, inputs=["amount"], label=Label(paid, "fraud"),
                    model=linear_model.LogisticRegression(), shard_by="card", shards=4)
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["score", "{}", "--in", "a.csv", "--out", "b.csv"], "`penstock score` predicts with one model"),
        (["report", "{}", "--out", "r.html"], "`penstock report` is about one model"),
        (["acls", "{}"], "`penstock acls` knows the keys of one model"),
        (["calibrate", "{}"], "`penstock calibrate` learns from the history of one model"),
        (["what-if", "{}"], "`penstock what-if` folds the history of one model"),
        (["run", "{}", "--role", "serve"], "The serve role answers with one model"),
        (["run", "{}", "--role", "challenge"], "it has no challengers"),
        (["replay", "{}"], "say which with --shard N, 0 to 3"),
        (["replay", "{}", "--shard", "4"], "'cards' has no shard 4: its shards are 0 to 3"),
        (["models", "{}"], "say which with --shard N"),
        (["models", "alias", "{}"], "say which with --shard N"),
        (["explain", "{}", "p1"], "say which with --shard N"),
        (["export", "{}", "--out", "a.csv"], "say which with --shard N"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_a_command_about_one_model_says_plainly_that_there_are_several(
    line: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET", "only here")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "cards.py"
    file.write_text(DEFINITION)
    assert cli.main([word.replace("{}", str(file)) for word in line]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
