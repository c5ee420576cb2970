"""What is an event and what is not, with the reason a producer is given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from river import compose, linear_model, preprocessing, tree

from penstock import View, count, mean
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.featurize.decode import MAX_EVENT_BYTES, SourceDecoder, text_inputs
from penstock.stream.log.protocol import Record
from tests.stream.generated import DELIVERED, PAID, SENT, START_MS, cards, parcels
from tests.stream.naive_flow import valid, wanted_of

NOW_MS = START_MS + 60_000
GOOD = {"parcel": "p1", "done_at": START_MS, "van": "v1", "depot": "d1", "street": "s", "late": 3.5}
PIPELINE = parcels()
DECODER = SourceDecoder(PIPELINE, DELIVERED)


def record(value: bytes | None, offset: int = 0) -> Record:
    return Record(DELIVERED.name, 0, offset, NOW_MS, b"v1", value, ())


def changed(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def reason(value: bytes | None, newest_at: int = -1) -> str | None:
    (item,) = DECODER.items([record(value)], newest_at)
    assert (item.event is None) != (item.reject is None)
    return item.reject


def test_a_good_record_is_an_event_with_its_id_and_time() -> None:
    (item,) = DECODER.items([record(changed(), 7)], -1)
    assert (item.at, item.newest_at, item.id, item.offset, item.reject) == (START_MS, START_MS, "p1", 7, None)
    assert item.event is not None and item.event["late"] == 3.5


def test_fields_nobody_declared_are_ignored() -> None:
    assert reason(changed(colour="red", nested={"a": [1]})) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "tombstone"),
        (b"", "not a JSON object"),
        (b"\x00\xff garbage", "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"[1, 2]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b"[" * 100_000, "Expected `object`"),
        (b'{"late": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "array"),
        (changed()[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not a JSON object"),
        (changed(van="\x80").replace(b"\\u0080", b"\xff"), "not a JSON object"),
        (changed(van="a").replace(b'"a"', b'"\\ud800"'), "not a JSON object"),
        (changed(late=float("nan")), "not a JSON object"),
        (changed(late=float("inf")), "not a JSON object"),
        (changed(late=1).replace(b'"late": 1', b'"late": 1e999'), "out of range"),
        (changed(late="three"), "`$.late`"),
        (changed(late="true"), "`$.late`"),
        (changed(late=1.1e75), "<= 1e+75 - at `$.late`"),
        (changed(late=-1e300), ">= -1e+75 - at `$.late`"),
        (changed(late=10**80), "<= 1e+75 - at `$.late`"),
        (changed(parcel=10**600), "'parcel' has more than 512 digits"),
        (changed(depot=-(10**4000)), "'depot' has more than 512 digits"),
        (changed(late=[1]), "`$.late`"),
        (changed(parcel=None), "`$.parcel`"),
        (changed(parcel=1.5), "`$.parcel`"),
        (changed(depot=1.5), "`$.depot`"),
        (changed(depot=False), "`$.depot`"),
        (changed(depot="x" * 513), "'depot' has 513 characters"),
        (changed(parcel="x" * 513), "'parcel' has 513 characters"),
        (changed(done_at="yesterday"), "neither milliseconds"),
        (changed(done_at="2023-11-14T22:13:20"), "no time zone"),
        (changed(done_at=None), "`$.done_at`"),
        (changed(done_at=True), "`$.done_at`"),
        (changed(done_at=-1), "not between 1970 and 9999"),
        (changed(done_at=START_MS * 1000), "not between 1970 and 9999"),
        (changed(done_at=10**30), "not between 1970 and 9999"),
        (changed(done_at="0001-01-01T00:00:00+00:00"), "not between 1970 and 9999"),
        (changed(done_at="9999-12-31T23:59:59-23:59"), "not between 1970 and 9999"),
        (changed(done_at=NOW_MS + 3_600_001), "1h after the record's own timestamp"),
        (changed(pad="x" * MAX_EVENT_BYTES), "above the limit"),
    ],
)
def test_what_is_wrong_is_said(value: bytes | None, says: str) -> None:
    found = reason(value)
    assert found is not None and says in found


@pytest.mark.parametrize("name", ["parcel", "done_at", "van", "depot", "street", "late"])
def test_a_declared_field_that_is_missing_is_named(name: str) -> None:
    found = reason(json.dumps({key: value for key, value in GOOD.items() if key != name}).encode())
    assert found is not None and f"`{name}`" in found


@pytest.mark.parametrize(
    "written",
    [
        START_MS,
        float(START_MS),
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:20.000+00:00",
        "2023-11-14T17:13:20-05:00",
    ],
)
def test_a_time_reads_the_same_in_every_form(written: int | float | str) -> None:
    (item,) = DECODER.items([record(changed(done_at=written))], -1)
    assert item.at == START_MS


def test_an_hour_ahead_of_its_own_record_is_still_an_event() -> None:
    assert reason(changed(done_at=NOW_MS + 3_600_000)) is None


def test_lateness_is_judged_against_the_partitions_newest_event() -> None:
    day = 86_400_000
    assert reason(changed(), START_MS + day) is None
    found = reason(changed(), START_MS + day + 1)
    assert found is not None and "behind the partition's newest" in found


def test_one_absurd_time_does_not_make_what_follows_late() -> None:
    batch = [changed(), changed(done_at=NOW_MS + 30 * 86_400_000), changed(parcel="p2", done_at=START_MS + 1)]
    found = DECODER.items([record(value, n) for n, value in enumerate(batch)], -1)
    assert [item.reject is None for item in found] == [True, False, True]
    assert [item.newest_at for item in found] == [START_MS, START_MS, START_MS + 1]


def test_a_rejected_record_keeps_its_place_in_time() -> None:
    found = DECODER.items([record(changed(), 0), record(b"garbage", 1)], -1)
    assert (found[1].at, found[1].offset) == (START_MS, 1)


def test_a_null_key_or_number_is_an_event() -> None:
    assert reason(changed(depot=None, late=None, van=None)) is None


def test_without_declared_label_fields_the_outcome_may_read_any_field() -> None:
    pipeline = parcels(
        label=Label(DELIVERED, lambda e: e["signed"] == "yes"), views=[View("v", SENT, "van", {"n": count()})]
    )
    (item,) = SourceDecoder(pipeline, DELIVERED).items([record(changed(signed="yes"))], -1)
    assert item.event is not None and pipeline.label.outcome(item.event) is True


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just(START_MS),
    st.lists(st.integers(), max_size=2),
)
almost = st.fixed_dictionaries({}, optional={name: st.one_of(st.just(GOOD[name]), scalars) for name in GOOD})
written = st.one_of(
    st.none(),
    st.binary(max_size=40),
    almost.map(lambda e: json.dumps(e).encode()),
    almost.map(lambda e: json.dumps({**GOOD, **e}).encode()),
)


@given(st.lists(written, max_size=6))
@example([changed(), changed(done_at=START_MS - 86_400_001), changed(done_at=START_MS - 1)])
def test_any_bytes_become_one_item_each_and_the_oracle_agrees_which_are_events(
    values: list[bytes | None],
) -> None:
    newest = -1
    found = DECODER.items([record(value, n) for n, value in enumerate(values)], newest)
    assert [item.offset for item in found] == list(range(len(values)))
    for item in found:
        event = valid(PIPELINE, wanted_of(PIPELINE, DELIVERED), item.record, newest)
        if item.event is not None:
            assert item.at >= newest - DELIVERED.grace_ms
        # The oracle also runs the outcome, which the step does later: a label of null fails there.
        if event is not None:
            assert item.reject is None
        elif item.event is not None:
            with pytest.raises(TypeError):
                PIPELINE.label.outcome(item.event)
        newest = item.newest_at


def test_the_label_of_the_event_itself_must_be_there() -> None:
    decoder = SourceDecoder(cards(), PAID)
    value = json.dumps({"payment": 1, "paid_at": START_MS, "card": "c", "amount": 2}).encode()
    (item,) = decoder.items([Record(PAID.name, 0, 0, NOW_MS, None, value, ())], -1)
    assert item.reject is not None and "`fraud`" in item.reject


def test_a_whole_number_as_id_is_its_decimal_text() -> None:
    (item,) = DECODER.items([record(changed(parcel=12))], -1)
    assert item.id == "12"


def test_pipelines_with_other_sources_leave_this_ones_types_alone() -> None:
    pipeline = Pipeline(
        "p", views=[], predict=SENT, inputs=["weight"], label=PIPELINE.label, model=PIPELINE.model
    )
    (item,) = SourceDecoder(pipeline, DELIVERED).items([record(changed(depot=1.5, street=False))], -1)
    assert item.reject is None


def sent(**fields: Any) -> Record:
    event = {
        "parcel": "p",
        "sent_at": START_MS,
        "van": "v",
        "depot": "d",
        "street": "s",
        "weight": 1.0,
        **fields,
    }
    return Record(SENT.name, 0, 0, NOW_MS, None, json.dumps(event).encode(), ())


def test_text_in_an_input_of_a_model_that_only_takes_numbers_is_a_wrong_type() -> None:
    decoder = SourceDecoder(parcels(), SENT)
    (item,) = decoder.items([sent(weight="heavy")], -1)
    assert item.reject is not None and "`$.weight`" in item.reject
    for weight in (2, None, True):
        assert decoder.items([sent(weight=weight)], -1)[0].reject is None


def test_an_input_is_text_where_the_model_takes_text() -> None:
    words = compose.Select("street") | preprocessing.OneHotEncoder()
    numbers = compose.Discard("street") | preprocessing.StandardScaler()
    pipeline = parcels(
        inputs=["weight", "street"], model=(words + numbers) | linear_model.LogisticRegression()
    )
    assert text_inputs(pipeline) == {"street"}
    decoder = SourceDecoder(pipeline, SENT)
    assert decoder.items([sent()], -1)[0].reject is None
    assert decoder.items([sent(weight="heavy")], -1)[0].reject is not None


def test_a_tree_takes_text_anywhere() -> None:
    assert text_inputs(parcels(model=tree.HoeffdingTreeClassifier())) == {"weight"}


def test_an_input_that_is_true_counts_as_one_in_an_expression_over_it() -> None:
    paid = Source("paid", id="id", time="at", key="card")
    pipeline = Pipeline(
        "online",
        views=[View("card", paid, key="card", features={"online": count("1h", where="online > 0")})],
        predict=paid,
        inputs=["online"],
        label=Label(paid, lambda event: event["fraud"], fields=("fraud",)),
        model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    )
    value = b'{"id":"a","at":1,"card":"c","online":true,"fraud":false}'
    (item,) = SourceDecoder(pipeline, paid).items([Record("paid", 0, 0, 10, None, value, ())], -1)
    assert item.reject is None and item.event is not None and item.event["online"] == 1.0


def test_true_and_false_are_taken_where_features_compute_and_stay_themselves_in_an_input() -> None:
    paid = Source("paid", id="id", time="at", key="card")
    views = [
        View(
            "card",
            paid,
            key="card",
            features={"failed": count("1h", where="failed"), "share": mean("failed")},
        )
    ]
    pipeline = Pipeline(
        "fails",
        views=views,
        predict=paid,
        inputs=["online"],
        label=Label(paid, lambda event: event["y"], fields=("y",)),
        model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    )
    value = b'{"id":"a","at":1,"card":"c","online":true,"failed":true,"y":false}'
    (item,) = SourceDecoder(pipeline, paid).items([Record("paid", 0, 0, 10, None, value, ())], -1)
    assert item.reject is None and item.event is not None
    assert (item.event["failed"], item.event["online"]) == (True, True)


def test_the_greatest_number_that_is_taken_is_1e75() -> None:
    for late in (1e75, -1e75, 10**75):
        assert reason(changed(late=late)) is None
    found = reason(changed(late=1.7e308))
    assert found is not None and "<= 1e+75" in found
    decoder = SourceDecoder(parcels(), SENT)
    assert decoder.items([sent(weight=-1e75)], -1)[0].reject is None
    assert "`$.weight`" in str(decoder.items([sent(weight=-1.7e308)], -1)[0].reject)
