"""What is not signed, featurize's state and documents: changed in every way, none is opened as code or ends in a traceback.

Laws of this file:
- A change is refused with a sentence, or taken for what somebody wrote: which of the two is said here, document by document.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from itertools import count as numbers

import msgspec
import pytest

from penstock.features.define.view import View
from penstock.features.engine.choose import EngineName
from penstock.features.engine.compute import CompiledView, StateMismatch
from penstock.features.redis.keys import definition_key, generation_key, position_key, state_key, token_key
from penstock.features.redis.keyspace import MemoryKeyspace
from penstock.stream.cli.expected import EXPECTED
from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.position import Position, decode_definition, decode_position
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.protocol import Out
from penstock.stream.roles.identity import Identity, OtherDeployment, found_identity
from penstock.stream.roles.in_memory import MemoryFlow
from tests.security.planted import MARKS, Planted, altered, cut, flipped
from tests.stream.generated import card_events, cards, outs

PLANTED = pickle.dumps(Planted())
VIEW = cards().views[0]


@pytest.fixture(autouse=True)
def no_marks() -> Iterator[None]:
    MARKS.clear()
    yield
    assert not MARKS


def flow_of(records: list[Out]) -> MemoryFlow:
    wall = numbers(1_700_000_000_000 + 90 * 86_400_000, 10)
    flow = MemoryFlow(cards(), clock=lambda: next(wall), partitions=1)
    flow.feed(records)
    flow.settle()
    return flow


EVENTS = outs(card_events(44, cards=2))


def begun_again(flow: MemoryFlow) -> str:
    """What a new worker says of what it finds: nothing, or why it cannot go on. Whatever it raises must be expected."""
    worker = None
    try:
        worker = FeaturizeWorker(
            flow.pipeline, flow.log, flow.store, flow.clock, keyspace=MemoryKeyspace(flow.server)
        )
        for _ in range(3):
            worker.process_batch(0.0)
    except EXPECTED as error:
        return str(error)
    finally:
        if worker is not None:
            worker.close()
    return ""


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("view", [VIEW], ids=lambda view: view.name)
def test_every_byte_of_a_state_changed_is_refused_or_another_state_and_never_anything_else(
    engine: EngineName, view: View
) -> None:
    """In both engines: one has memory of its own to read past."""
    compiled = CompiledView(view, engine)
    flow = flow_of(EVENTS[:40])
    whole = flow.server.data[state_key("cards", "0", view.name, view.version, "c1")]
    refused = Counter[bool]()
    for changed in [*altered(whole), PLANTED, b"", b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000]:
        try:
            state = compiled.decode(changed)
            if engine == "native":  # Python's finds a text among numbers only when it counts them
                compiled.document(state, 1_700_000_000_000, 0)
        except StateMismatch as error:
            assert "card" in str(error) and "penstock reset" in str(error)
            refused[True] += 1
        else:
            refused[False] += 1
    assert refused[True] > 400, "nothing signs a state: numbers in it can be changed, its shape cannot"


def test_a_worker_that_finds_a_state_that_is_none_ends_and_says_what_to_do() -> None:
    key = state_key("cards", "0", VIEW.name, VIEW.version, "c1")
    kept = flow_of(EVENTS[:40]).server.data[key]
    for changed in [*flipped(kept, 40), *cut(kept, 30), PLANTED]:
        flow = flow_of(EVENTS[:40])
        flow.featurize.close()
        flow.server.put(key, changed)
        flow.feed(EVENTS[40:])
        said = begun_again(flow)
        if changed in (PLANTED, kept[:30]):
            assert "view 'card'" in said and "penstock reset" in said
    assert StateMismatch in EXPECTED


def test_a_state_that_somebody_made_up_is_taken_for_the_entitys_own() -> None:
    """It is not guarded: whoever may write states may say what a card did, such as what another one did."""
    key = state_key("cards", "0", VIEW.name, VIEW.version, "")
    flow = flow_of(EVENTS[:40])
    flow.featurize.close()
    flow.server.data[key + "c0"] = flow.server.data[key + "c1"]
    flow.feed(EVENTS[40:])
    assert begun_again(flow) == ""


# -- documents -------------------------------------------------------------------------------------------------------------


def test_every_byte_of_a_position_changed_is_refused_with_a_sentence_or_is_another_position() -> None:
    flow = flow_of(EVENTS[:40])
    flow.featurize.close()
    key = position_key("cards", "0")
    kept = dict(flow.server.data)
    seen = Counter[bool]()
    for changed in [*flipped(kept[key]), *cut(kept[key]), PLANTED, b"\xc0", b"\x90", b"\x91\x03", b"{}"]:
        flow.server.data.clear()
        flow.server.data.update(kept)
        flow.server.put(key, changed)
        said = begun_again(flow)
        seen[bool(said)] += 1
        if said.startswith("the position"):
            assert "penstock acls" in said and "penstock reset FILE" in said
    assert seen[True] > 400 and seen[False] < 200, "of the offset and the time: those are believed"


def test_what_is_no_position_and_no_definition_is_said_to_be_none() -> None:
    for stored in (
        b"",
        b"\xc1",
        b"\x80",
        PLANTED,
        msgspec.msgpack.encode([3, "r"]),
        b"\xff" * 50,
        b"\x91" * 100_000,
    ):
        with pytest.raises(DefinitionError, match="cannot be read"):
            decode_position(stored)
    for place in ([-1, 0, "t"], ["0", 0, "t"], [0, 0], [0, 0, 5], 7):
        with pytest.raises(DefinitionError, match="cannot be read"):
            decode_position(msgspec.msgpack.encode([3, "r", {"cards.paid/0": place}]))
    for name in ("cards.paid/", "cards.paid/ 1", "cards.paid/x", "cards.paid"):
        with pytest.raises(DefinitionError, match="cannot be read"):
            decode_position(msgspec.msgpack.encode([3, "r", {name: [0, 0, "t"]}]))
    for stored in (b"", b"[]", b"7", b"{", b"\xff", PLANTED, b'{"a":' + b"[" * 100_000):
        with pytest.raises(DefinitionError, match="cannot be read"):
            decode_definition(stored)
    with pytest.raises(DefinitionError, match="another release"):
        decode_position(msgspec.msgpack.encode([99, {"of": "another release"}]))
    good = Position("r", {"cards.paid/0": [1, 2, "t"]}, None, {"cards.paid": [1, 2]}, 5)
    assert decode_position(good.encode()) == good


def test_every_byte_of_the_definition_and_the_identity_changed_is_refused_with_a_sentence_or_believed() -> (
    None
):
    flow = flow_of(EVENTS[:40])
    definition = flow.server.data[definition_key("cards", "0")]
    here = Identity(pipeline="cards")
    identity = flow.server.data[here.key]
    for changed in [*flipped(definition, 3), *cut(definition, 7), PLANTED]:
        try:
            decode_definition(changed)
        except DefinitionError as error:
            assert "cannot be read" in str(error)
    for changed in [*flipped(identity), *cut(identity), PLANTED, b'{"a":' + b"[" * 100_000]:
        flow.server.put(here.key, changed)
        try:
            found_identity(MemoryKeyspace(flow.server), here)
        except OtherDeployment as error:
            assert "cannot be read" in str(error)


@pytest.mark.parametrize("key_of", [token_key, generation_key, position_key])
def test_a_running_worker_whose_token_generation_or_position_somebody_changed_writes_nothing_more(
    key_of: object,
) -> None:
    """Each is compared before every write. It is noticed, and said; what was read is read again."""
    key = key_of("cards", "0")  # type: ignore[operator]
    for changed in (PLANTED, b"", b"0"):
        flow = flow_of(EVENTS[:40])
        before = {k: v for k, v in flow.server.data.items() if ":0:state:" in k}
        flow.server.put(key, changed)
        flow.feed(EVENTS[40:])
        try:
            flow.featurize.process_batch(0.0)
        except EXPECTED as error:
            assert "cards" in str(error) or "position" in str(error)
        after = {k: v for k, v in flow.server.data.items() if ":0:state:" in k}
        assert after in (before, {}), "nothing, or all of it cleared to be made anew"
