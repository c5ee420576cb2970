"""Whose answer it is: a version by id, name or alias, and a challenger for a share of the entities."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Serving
from penstock.features.units import StoreUnavailable
from penstock.stream import topology
from penstock.stream.definition_error import DefinitionError
from penstock.stream.log.protocol import Out
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.models.version import NAMED
from penstock.stream.roles.serve import explained
from penstock.stream.serve.asking import Asking, Refusal
from penstock.stream.serve.replicas import NAMED_S, KeptVersions
from tests.stream.generated import outs, parcel_events, parcels
from tests.stream.serve.served_flow import flow_of, samples_of, served_of
from tests.stream.serve.test_app import PREDICT, Asked, columns, event

WALL_MS = 1_800_000_000_000


@pytest.fixture(scope="module", autouse=True)
def often() -> Iterator[None]:
    """Replicas are due at every turn, and copies are kept often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_SPACING", 0)
        patch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 50)
        yield


def an_event(**changes: Any) -> bytes:
    return encode_json(event(**changes))


def rolled_back(asked: Asked) -> str:
    """A person puts a kept version in place; its id."""
    flow = asked.flow
    fold = flow.learn.fold
    assert fold is not None
    kept = next(one.version for one in fold.experts.models if one.kind == "frozen")
    roll = OperatorRequest(
        id="r1", pipeline="parcels", verb="rollback", reason="told to", by="ann", version=kept
    )
    flow.feed([Out(topology.CONTROL_COMMANDS, b"parcels", encode_json(roll))])
    flow.settle()
    assert asked.served.refresh()
    return kept


def test_champion_and_previous_can_be_asked_in_both_protocols_once_they_mean_a_version() -> None:
    asked = Asked()
    status, _, problem = asked("POST", f"{PREDICT}?version=previous", event())
    assert status == 404 and "nothing was committed before" in problem["error"]
    model = "/v2/models/parcels"
    assert asked("POST", f"{model}/versions/previous/infer", columns(event()))[0] == 404
    assert (
        asked("GET", f"{model}/versions/previous/ready")[0] == asked("GET", f"{model}/versions/v99")[0] == 404
    )
    first = asked("GET", model)[2]["versions"][0]
    kept = rolled_back(asked)
    for alias, version in (("champion", kept), ("previous", first)):
        status, _, said = asked("POST", f"{PREDICT}?version={alias}", event())
        assert status == 200 and (said["by_version"]["version"], said["by_version"]["asked_for"]) == (
            version,
            alias,
        )
        status, _, found = asked("POST", f"{model}/versions/{alias}/infer", columns(event()))
        assert status == 200 and found["model_version"] == version
        assert found["outputs"][0]["data"] == [said["by_version"]["prediction"]]
        assert asked("GET", f"{model}/versions/{alias}/ready")[0] == 200
    assert asked("GET", model)[2]["versions"] == [kept, "champion", "previous"]


def test_what_a_name_means_is_looked_up_again_and_what_an_id_means_is_not() -> None:
    flow = Asked().flow
    store, clock = MemoryModelStore(), [0.0]
    versions = [flow.models.get(one) for one in sorted(flow.models.ids())[:2]]
    for found, as_id in zip(versions, (f"{NAMED}best", "v1.first"), strict=True):
        assert found is not None
        store.stored[as_id] = found
    kept = KeptVersions(store, lambda: clock[0])
    (one, _), (other, _) = [found for found in versions if found is not None]
    assert kept("best")[0] == one.id
    assert versions[1] is not None
    store.stored[f"{NAMED}best"] = versions[1]
    assert kept("best")[0] == one.id
    clock[0] = NAMED_S
    assert kept("best")[0] == other.id
    with pytest.raises(KeyError, match="no such version"):
        kept("worst")


def away(_: str) -> Any:
    raise StoreUnavailable("no answer", "redis://there", "check it")


def test_a_store_that_is_away_is_a_503_for_who_asks_a_version_of_it() -> None:
    asked = Asked(60)
    asked.served.version = away
    status, headers, problem = asked("POST", f"{PREDICT}?version=v77", event())
    assert status == 503 and "no answer" in problem["error"] and headers["retry-after"]


# -- arms ---------------------------------------------------------------------------------------------------------------------

salts, shares, keys = st.text(max_size=9), st.floats(0, 1), st.text()


@given(salt=salts, key=keys)
def test_a_share_of_nothing_is_nobody_and_a_share_of_one_everybody(salt: str, key: str) -> None:
    assert Serving(challenger="c", share=0.0, salt=salt).arm(key) == "champion"
    assert Serving(challenger="c", share=1.0, salt=salt).arm(key) == "challenger"
    assert Serving(challenger="c", share=1.0, salt=salt).arm(None) == "champion"


@given(salt=salts, share=shares, more=shares, key=keys)
def test_an_entity_keeps_its_arm_and_a_greater_share_takes_nobody_off_the_challengers(
    salt: str, share: float, more: float, key: str
) -> None:
    arm = Serving(challenger="c", share=share, salt=salt).arm(key)
    assert arm == Serving(challenger="another", share=share, salt=salt).arm(key)
    if arm == "challenger":
        assert Serving(challenger="c", share=max(share, more), salt=salt).arm(key) == "challenger"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.5])
def test_the_share_of_ten_thousand_keys_is_the_one_declared_and_another_salt_draws_others(
    share: float,
) -> None:
    drawn = [
        {
            n
            for n in range(10_000)
            if Serving(challenger="c", share=share, salt=salt).arm(f"k{n}") == "challenger"
        }
        for salt in ("spring", "autumn")
    ]
    four_sigma = 4 * (share * (1 - share) / 10_000) ** 0.5
    for one in drawn:
        assert abs(len(one) / 10_000 - share) <= four_sigma
    both = len(drawn[0] & drawn[1]) / 10_000
    assert abs(both - share**2) <= 4 * (share**2 / 10_000) ** 0.5


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"share": 0.1}, "name a challenger"), ({"challenger": "c", "share": 2}, "0 to 1"), ({"degraded": 1}, "True or False"),
     ({"challenger": "c", "share": True}, "0 to 1"), ({"salt": 3}, "text")],
)  # fmt: skip
def test_a_wrong_option_of_serving_is_said_when_the_definition_loads(
    wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(DefinitionError, match=says):
        Serving(**wrong)
    with pytest.raises(DefinitionError, match="serving must be a Serving"):
        parcels(serving=wrong)


def test_serving_is_no_part_of_the_recipe() -> None:
    assert parcels().digest == parcels(serving=Serving(True, "v1", 0.2, "s")).digest


def test_the_challenger_answers_for_its_entities_alone_and_the_answer_says_so() -> None:
    asked = Asked(serving=Serving(challenger="v1", share=0.5, salt="a"))
    served, served_by = asked.served, set()
    replica = served.replica
    assert replica is not None
    assert served.answering.challenger is not None
    version = served.answering.challenger.version
    model = next(one.model for one in replica.standing.experts.models if one.version == version)
    for number in range(40):
        given = event(parcel=f"x{number}", van=f"van{number}")
        status, _, said = asked("POST", f"{PREDICT}?vector=true", given)
        arm = served.pipeline.serving.arm(asked_key(asked, given))
        served_by.add(arm)
        assert status == 200 and said["arm"] == arm
        values = list(said["vector"].values())
        if arm == "challenger":
            assert (
                said["prediction"] == replica.ask_model(model, values) and said["model"]["version"] == version
            )
        else:
            assert said["prediction"] == replica.ask("", 0, values).prediction.prediction
            assert said["model"]["version"] == replica.live.version
    assert served_by == {"champion", "challenger"}
    text = asked("GET", "/metrics")[2].decode()
    assert 'penstock_arm_answers_total{arm="challenger",pipeline="parcels"}' in text
    shown = asked("GET", "/v1/pipelines/parcels")[2]["routing"]
    assert shown == {"challenger": "v1", "share": 0.5, "version": version, "why": ""}
    infer = asked("POST", "/v2/models/parcels/infer", columns(event()))[2]
    assert {one["name"] for one in infer["outputs"]} == {"prediction", "arm"}


def asked_key(asked: Asked, given: dict[str, Any]) -> str | None:
    return asked.served.vectors.key_of(asked.served.vectors.asked(encode_json(given), WALL_MS))


def test_the_key_that_chooses_the_arm_is_that_of_the_sample() -> None:
    asked = Asked(60)
    sample = samples_of(asked.flow)[-1]
    sent = next(one for _, _, one in parcel_events(60) if one["parcel"] == sample.id and "sent_at" in one)
    assert asked_key(asked, sent) == sample.key


def test_a_challenger_that_is_not_there_leaves_everybody_to_the_champion_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = Asked(60, serving=Serving(challenger="night", share=1.0))
    for _ in range(3):
        asyncio.run(asked.app.refresh_once())
    assert [one.getMessage().partition(": version")[0] for one in caplog.records] == [
        "parcels: the challenger does not answer"
    ]
    assert asked("POST", PREDICT, event())[2]["arm"] == "champion"
    routing = asked("GET", "/v1/pipelines/parcels")[2]["routing"]
    assert routing["version"] is None and "no such version" in routing["why"]


def test_an_explanation_is_of_whoever_answers() -> None:
    for share in (0.0, 1.0):
        asked = Asked(serving=Serving(challenger="v1", share=share))
        asked.served.explain = explained
        said = asked("POST", "/v1/pipelines/parcels:explain", event())[2]
        why = said["explanation"]
        assert said["arm"] == ("challenger" if share else "champion")
        assert why["prediction"] == pytest.approx(said["prediction"], abs=1e-9)
        total = why["base"] + sum(one["contribution"] for one in why["contributions"])
        assert total == pytest.approx(why["margin"], abs=1e-9)


def test_a_challenger_that_takes_no_part_is_opened_by_the_name_that_a_person_gave_it() -> None:
    asked = Asked(serving=Serving(challenger="night", share=1.0))
    stored = asked.flow.models.get(sorted(asked.flow.models.ids())[0])
    assert stored is not None
    version, payload = stored
    asked.flow.models.put(msgspec.structs.replace(version, id=f"{NAMED}night", parent=version.id), payload)
    asked.served.refresh()
    said = asked("POST", f"{PREDICT}?version=night", event())[2]
    assert said["arm"] == "challenger" and said["model"] == {"version": version.id, "weight": 1.0}
    assert said["prediction"] == said["by_version"]["prediction"] and said["trained_to"] == version.position
    asked.served.version = away
    asked.served.refresh()
    assert asked("POST", PREDICT, event())[2]["arm"] == "challenger"


def test_a_pipeline_without_a_challenger_says_nothing_of_arms() -> None:
    asked = Asked(60)
    assert "arm" not in asked("POST", PREDICT, event())[2]
    assert asked("GET", "/v1/pipelines/parcels")[2]["routing"] is None


# -- as of a moment -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain() -> Asked:
    return Asked()


@given(
    depot=st.integers(0, 5).map("d{}".format),
    street=st.integers(0, 10).map("s {}|".format) | st.none(),
    after_ms=st.integers(0, 10 * 86_400_000),
)
def test_as_of_the_events_own_time_is_as_if_it_was_not_asked_for(
    plain: Asked, depot: str, street: str | None, after_ms: int
) -> None:
    newest = event()["sent_at"] + 4 * 3_600_000  # after every event that was fed
    given = event(depot=depot, street=street, sent_at=newest + after_ms)
    said = plain("POST", f"{PREDICT}?vector=true", given)[2]
    as_of = plain("POST", f"{PREDICT}?vector=true&as_of={given['sent_at']}", given)
    assert as_of[0] == 200 and as_of[2] == {**said, "as_of": given["sent_at"]}
    earlier = {**given, "sent_at": newest}
    moved = plain("POST", f"{PREDICT}?vector=true&as_of={given['sent_at']}", earlier)[2]
    assert (moved["vector"], moved["at"]) == (said["vector"], newest)


def test_windows_age_until_the_moment_asked_for_and_a_moment_that_is_over_is_refused() -> None:
    asked = Asked()
    given, names = event(), "depot.done_1h"
    later = given["sent_at"] + 30 * 86_400_000
    said = asked("POST", f"{PREDICT}?vector=true&as_of={later}", given)[2]
    moved = asked("POST", f"{PREDICT}?vector=true", {**given, "sent_at": later})[2]
    assert (
        said["vector"] == moved["vector"] and said["vector"][names] == 0.0 and said["at"] == given["sent_at"]
    )
    status, _, problem = asked("POST", f"{PREDICT}?as_of={given['sent_at'] - 40 * 86_400_000}", given)
    assert status == 422 and "penstock score" in problem["error"] and "penstock explain" in problem["error"]
    assert asked("POST", f"{PREDICT}?as_of=yesterday", given)[0] == 400


def test_answering_for_versions_arms_and_moments_changes_no_model() -> None:
    asked = Asked(serving=Serving(challenger="v1", share=0.5))
    replica = asked.served.replica
    assert replica is not None
    before = replica.digest()
    for number in range(30):
        given = event(parcel=f"y{number}", van=f"van{number}")
        asked("POST", f"{PREDICT}?version=champion&as_of={given['sent_at'] + 10**7}", given)
    assert asked.served.replica is replica and replica.digest() == before
    asyncio.run(asked.app.refresh_once())


def test_an_alias_is_refused_in_a_sentence_where_versions_are_not_available() -> None:
    flow = flow_of(parcels())
    served, _ = served_of(flow)
    flow.settle()
    served.refresh()
    flow.feed(outs(parcel_events(60)))
    flow.settle()
    served.refresh()
    served.version = None
    with pytest.raises(Refusal, match="not available here"):
        served.predict([an_event()], Asking(version="v77"), WALL_MS)
    assert served.predict([an_event()], Asking(version="champion"), WALL_MS)[0].by_version is not None
