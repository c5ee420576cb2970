"""Learn's snapshot and its replica, changed in every way by who can write to Redis: refused before anything is unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import count as numbers
from typing import Any

import msgspec
import pytest

from penstock.features.redis.keys import replica_key, snapshot_key, states_prefix
from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream.learn.replica_snapshot import open_replica, stored_replica
from penstock.stream.learn.snapshot import STATE, SnapshotHeader, StateUnpickler, Taken, restore_fold
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.learn.taking_up import restored
from penstock.stream.models import pieces
from penstock.stream.models.pieces import name_of
from penstock.stream.models.version import BadEnvelope, Envelope, key_id, seal, unseal
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from tests.security.planted import MARKS, Planted, altered, cut, flipped
from tests.stream.generated import outs, parcel_events, parcels

PLANTED = pickle.dumps(Planted())
KEY, PIECES = snapshot_key("shop"), states_prefix("shop", "learn") + "piece:"
INDEX = states_prefix("shop", "learn") + "pieces"


@pytest.fixture(autouse=True)
def no_marks() -> Iterator[None]:
    MARKS.clear()
    yield


def stored_planted() -> MemoryServer:
    """A Redis with a rightly signed snapshot whose every part is a pickle that marks its opening, in several pieces."""
    server = MemoryServer()
    store = MemoryStateStore(server, "shop", "learn")
    store.acquire()
    store.start(b"start")
    header = SnapshotHeader(pipeline="shop", position=5, rescan_from=0, topic_id="t", recipe="r", rules="x")
    parts = {STATE: PLANTED, "model 1": pickle.dumps(Planted("another"))}
    StoredSnapshot(store, "shop", SECRET).save(b"start", Taken(header, parts), b"{}")
    return server


def loaded(server: MemoryServer) -> Taken | None:
    return StoredSnapshot(MemoryStateStore(server, "shop", "learn"), "shop", SECRET).load()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 30)


@pytest.mark.usefixtures("small_pieces")
def test_the_planted_snapshot_is_opened_where_nobody_changed_it() -> None:
    taken = loaded(stored_planted())
    assert taken is not None
    StateUnpickler(taken.parts).load()
    assert MARKS == ["opened"]


@pytest.mark.usefixtures("small_pieces")
def test_every_byte_of_every_piece_and_of_the_list_changed_cut_or_moved_is_refused() -> None:
    """What `load` gives is what was signed, or it raises; who opens it sees nothing else."""
    server = stored_planted()
    whole = loaded(server)
    assert whole is not None
    keys = [key for key in server.data if key == KEY or key.startswith(PIECES)]
    assert len(keys) > 4
    for key in keys:
        kept = server.data[key]
        others = [server.data[other] for other in keys if other not in (key, KEY)]
        for changed in altered(kept, others):
            if changed == kept:
                continue
            server.data[key] = changed
            try:
                found = loaded(server)
            except BadEnvelope:
                continue
            if changed == b"":  # an empty value is no list: as if there was none
                assert found is None
                continue
            # The key's name alone is not signed.
            assert key == KEY and found == whole
            assert msgspec.msgpack.decode(changed, type=Envelope).key_id != key_id(SECRET)
        server.data[key] = kept
    assert not MARKS


@pytest.mark.usefixtures("small_pieces")
def test_a_piece_that_is_gone_exchanged_or_planted_is_refused() -> None:
    server = stored_planted()
    names = [key for key in server.data if key.startswith(PIECES)]
    for one in names:
        kept = server.data.pop(one)
        with pytest.raises(BadEnvelope, match="gone or changed"):
            loaded(server)
        for other in names:
            if other != one:
                server.data[one] = server.data[other]
                with pytest.raises(BadEnvelope, match="gone or changed"):
                    loaded(server)
        server.data[one] = kept
    own = pickle.dumps(Planted("planted"))
    server.data[PIECES + name_of(own)] = own
    header, _ = unseal(server.data[KEY], SECRET, SnapshotHeader)
    theirs = msgspec.structs.replace(header, parts={STATE: [name_of(own)]})
    real = msgspec.msgpack.decode(server.data[KEY], type=Envelope)
    for sealed in (
        seal(theirs, b"", "another key"),
        msgspec.msgpack.encode(Envelope(msgspec.msgpack.encode(theirs), real.payload, real.key_id, real.mac)),
        own,
    ):
        server.data[KEY] = sealed
        with pytest.raises(BadEnvelope):
            loaded(server)
    assert not MARKS


@pytest.mark.usefixtures("small_pieces")
def test_an_index_that_anybody_changed_loses_nothing() -> None:
    """It is not signed: it says which pieces may lie there. The snapshot is whole with any of them."""
    server = stored_planted()
    whole = loaded(server)
    kept = server.data[INDEX]
    for changed in [*flipped(kept), *cut(kept, 5), PLANTED]:
        server.data[INDEX] = changed
        assert loaded(server) == whole
    assert not MARKS


# -- a fold's own, and what is signed but stands in the wrong place ---------------------------------------------------------


@pytest.fixture
def flow() -> MemoryFlow:
    wall = numbers(1_700_000_000_000 + 90 * 86_400_000, 10)
    flow = MemoryFlow(parcels(), clock=lambda: next(wall))
    flow.server.put("penstock:parcels:serving", b"1")  # as a serve role says it
    flow.feed(outs(parcel_events(150)))
    flow.settle()
    flow.learn._snapshot(flow.learn.fold)  # type: ignore[arg-type]
    return flow


def put_back(flow: MemoryFlow, kept: dict[str, bytes]) -> None:
    """The snapshot's list and pieces as they were, beside what there is."""
    for key, value in kept.items():
        if key == snapshot_key("parcels") or ":learn:state:piece" in key:
            flow.server.data[key] = value


def test_bytes_of_a_real_snapshot_and_replica_changed_here_and_there_are_refused(flow: MemoryFlow) -> None:
    server, pipeline = flow.server, flow.pipeline
    states = f"{states_prefix('parcels', 'learn')}"
    lists = {snapshot_key("parcels"): f"{states}piece:", replica_key("parcels"): f"{states}replica-piece:"}
    for key, prefix in lists.items():
        assert key in server.data and any(one.startswith(prefix) for one in server.data)
        for one in [each for each in server.data if each == key or each.startswith(prefix)]:
            kept = server.data[one]
            for changed in flipped(kept, max(1, len(kept) // 12)):
                server.data[one] = changed
                store = MemoryStateStore(server, "parcels", "learn")
                stored = (
                    StoredSnapshot(store, "parcels", SECRET)
                    if key == snapshot_key("parcels")
                    else stored_replica(store, "parcels", SECRET)
                )
                try:
                    found = stored.load()
                except BadEnvelope:
                    continue
                envelope = msgspec.msgpack.decode(changed, type=Envelope)
                assert found is not None and envelope.key_id != key_id(SECRET)
            server.data[one] = kept
    assert pipeline.name == "parcels"


def test_a_snapshot_of_another_pipeline_definition_or_topic_is_refused_before_it_is_opened(
    flow: MemoryFlow,
) -> None:
    """Signed with the same secret, and copied to where this pipeline's stands."""
    log, topic = flow.log, "parcels.samples"
    good = SnapshotHeader(
        pipeline="parcels",
        position=1,
        rescan_from=0,
        topic_id=log.topic_id(topic),
        recipe=flow.pipeline.digest,
        rules=flow.learn.fold.rules,  # type: ignore[union-attr]
    )
    parts = {STATE: PLANTED}
    for changes in (
        {"pipeline": "cards"},
        {"recipe": "another"},
        {"rules": "others"},
        {"topic_id": "that of another prefix"},
        {"river": "0.1"},
        {"python": "3.2.1"},
        {"position": 10**9},
    ):
        header = msgspec.structs.replace(good, **changes)
        with pytest.raises(BadEnvelope, match="folds the log anew"):
            restore_fold(flow.pipeline, Taken(header, parts), log, topic)
    for changes in ({"pipeline": "cards"}, {"recipe": "another"}, {"river": "0.1"}, {"python": "3.2.1"}):
        with pytest.raises(BadEnvelope, match="start both from the same"):
            open_replica(flow.pipeline, Taken(msgspec.structs.replace(good, **changes), parts))
    assert not MARKS
    with pytest.raises(BadEnvelope):
        restore_fold(flow.pipeline, Taken(good, parts), log, topic)
    assert MARKS == ["opened"]


def test_a_replica_in_the_place_of_the_snapshot_is_refused_and_the_other_way_round(flow: MemoryFlow) -> None:
    """Both are signed by learn, and neither passes for the other, though somebody copies list and pieces."""
    server, states = flow.server, states_prefix("parcels", "learn")
    kept = dict(server.data)
    for key, value in kept.items():
        if key.startswith(f"{states}replica-piece:"):
            server.data[key.replace("replica-piece:", "piece:")] = value
        elif key.startswith(f"{states}piece:"):
            server.data[key.replace("piece:", "replica-piece:")] = value
    one, other = snapshot_key("parcels"), replica_key("parcels")
    server.data[one], server.data[other] = kept[other], kept[one]
    store = MemoryStateStore(server, "parcels", "learn")
    taken = StoredSnapshot(store, "parcels", SECRET).load()
    assert taken is not None
    with pytest.raises(BadEnvelope, match="does not open here"):
        restore_fold(flow.pipeline, taken, flow.log, "parcels.samples")
    taken = stored_replica(store, "parcels", SECRET).load()
    assert taken is not None
    with pytest.raises(BadEnvelope, match="do not open here"):
        open_replica(flow.pipeline, taken)


def test_an_older_snapshot_put_back_costs_time_and_changes_nothing() -> None:
    """The log is folded from where it was: the model that comes of it is the one of a fold that nobody touched."""
    wall = numbers(1_700_000_000_000 + 90 * 86_400_000, 10)
    flow, untouched = (MemoryFlow(parcels(), clock=lambda: next(wall)) for _ in range(2))
    everything = outs(parcel_events(240))
    for number, one in enumerate((flow, untouched)):
        one.feed(everything[:200])
        one.settle()
        if number == 0:
            one.learn._snapshot(one.learn.fold)  # type: ignore[arg-type]
            older = dict(one.server.data)
        one.feed(everything[200:])
        one.settle()
    flow.learn._snapshot(flow.learn.fold)  # type: ignore[arg-type]
    before = flow.learn.fold.position  # type: ignore[union-attr]
    put_back(flow, older)
    snapshot = StoredSnapshot(MemoryStateStore(flow.server, "parcels", "learn"), "parcels", SECRET)
    found = restored(snapshot, flow.pipeline, flow.log, "parcels.samples", guard=True)
    assert found is not None and found.position < before, "it is taken for the newest"
    flow.learn._drop()
    flow.settle()
    fold: Any = flow.learn.fold
    assert fold.position == before
    assert fold.chain == untouched.learn.fold.chain  # type: ignore[union-attr]
