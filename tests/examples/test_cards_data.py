"""The card payments: seeded, ordered, and with a pattern that the definition's own model learns."""

from __future__ import annotations

import json
from collections import Counter, deque
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient
from river import metrics

from penstock.examples import cards
from penstock.examples.cards_data import FIRST_MS, PAYMENTS, events, main
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Record
from penstock.stream.process.settings import Settings
from penstock.stream.topology import Topic


def test_the_same_seed_gives_the_same_payments_and_another_seed_others():
    assert list(events(500)) == list(events(500))
    assert list(events(500)) != list(events(500, seed=8))


def test_a_longer_stream_begins_as_a_shorter_one():
    assert list(events(800))[:500] == list(events(500))


def test_event_time_goes_forward_and_ids_are_unique():
    found = list(events(3_000))
    times = [at for *_, at in found]
    assert len(found) == 3_000 and times[0] >= FIRST_MS
    assert all(before <= after for before, after in pairwise(times))
    assert len({fields["payment_id"] for _, _, fields, _ in found}) == 3_000
    assert all(
        topic == PAYMENTS and fields["card"] == key and fields["paid_at"] == at
        for topic, key, fields, at in found
    )


def test_few_cards_pay_most():
    counts = Counter(card for _, card, _, _ in events(10_000)).most_common()
    assert sum(count for _, count in counts[: len(counts) // 10]) > 4_000


def test_one_to_five_percent_are_fraud_and_inverting_begins_where_asked():
    plain = [fields["fraud"] for _, _, fields, _ in events(10_000)]
    inverted = [fields["fraud"] for _, _, fields, _ in events(10_000, inverted_from=6_000)]
    assert 100 < sum(plain) < 500
    assert inverted == plain[:6_000] + [not fraud for fraud in plain[6_000:]]


@pytest.mark.parametrize("arguments", [{"cards": 0}, {"payments": -1}])
def test_no_cards_or_fewer_than_no_payments_are_refused(arguments):
    with pytest.raises(ValueError, match="at least one card"):
        next(events(**arguments))


def test_the_definition_takes_every_event_scales_by_partition_and_hides_the_answer():
    decoder = SourceDecoder(cards.pipeline, cards.payments)
    for topic, _, fields, at in events(300):
        event, found = decoder.decode(Record(topic, 0, 0, at, None, msgspec.json.encode(fields), ()), -1)
        assert found == at and cards.pipeline.label.outcome(event) == fields["fraud"]
    assert cards.pipeline.partitioned and "fraud" not in cards.pipeline.vector_names


def test_the_definitions_model_learns_the_pattern():
    """Inputs and one of its features by hand; a coin would have an area of 0.5."""
    model: Any = cards.pipeline.model.clone()
    area = metrics.ROCAUC()
    recent: dict[str, deque[int]] = {}
    for number, (_, card, fields, at) in enumerate(events(20_000)):
        paid = recent.setdefault(card, deque())
        paid.append(at)
        while paid[0] <= at - 600_000:
            paid.popleft()
        x = {name: fields[name] for name in cards.pipeline.inputs} | {"card.paid_10m": len(paid)}
        if number > 5_000:
            area.update(fields["fraud"], model.predict_proba_one(x)[True])
        model.learn_one(x, fields["fraud"])
    assert area.get() > 0.75


def test_publishing_ends_with_the_counts(kafka_bootstrap, monkeypatch, capsys):
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with client(KafkaAdminClient, Settings(bootstrap=kafka_bootstrap)) as admin:
        ensure(admin, [Topic(PAYMENTS, 2, {}, "payments")])
    assert main(["--bootstrap", kafka_bootstrap, "--payments", "300"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["records"] == 300 and last["frauds"] == sum(
        fields["fraud"] for _, _, fields, _ in events(300)
    )
