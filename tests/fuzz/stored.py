"""Targets: what stands in the samples log, in Redis and on control topics, where others may write, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.fuzz.target import Target, only, told

START_MS = 1_700_000_000_000


def _entries() -> Callable[[bytes], object]:
    from penstock.stream.learn.entries import entry_of
    from penstock.stream.learn.fold import Fold
    from penstock.stream.messages import Command, Entry, encode_entry
    from tests.stream.generated import entries, parcels
    from tests.stream.learn.test_runs import in_runs, state_of, stepped

    usual = entries(60)

    def one(data: bytes) -> None:
        log: list[Entry] = list(usual)
        for number, chunk in enumerate(data.split(b"\n\n")[:20]):
            entry = entry_of(chunk)
            if entry is None:
                continue
            encode_entry(entry)
            if not isinstance(entry, Command):  # what commands may do is another target's
                log.insert(min(10 + 7 * number, len(log)), entry)
        log += usual[-20:]
        ways = []
        for run in (in_runs, stepped):
            fold = Fold(parcels())
            done = told(
                lambda r=run, f=fold: [
                    one.all for one in [r(f, log, lambda: 50)[1] if r is in_runs else r(f, log)]
                ]
            )
            ways.append((done, told(lambda f=fold: state_of(f)) if not done.startswith("raises") else ""))
        assert ways[0] == ways[1], "C and Python differ"
        assert not ways[0][0].startswith("raises"), ways[0][0]

    return one


def _entry_seeds() -> list[bytes]:
    from penstock.stream.messages import encode_entry
    from tests.stream.generated import entries

    found = [encode_entry(entry) for entry in entries(12)]
    return [b"\n\n".join(found[1:9]), found[0], found[1], found[2], b"\x91" * 3_000]


def _control() -> Callable[[bytes], object]:
    from penstock.stream import topology
    from penstock.stream.control.state import PolicyConfig, PolicyState
    from penstock.stream.control.step import Undecodable, concerned, control_step, take_due
    from penstock.stream.messages import encode_json
    from tests.stream.generated import parcels

    config = PolicyConfig.of(parcels())

    def one(data: bytes) -> None:
        state = PolicyState("parcels")
        concerned(["parcels.0", "parcels.1"], data)
        for offset, line in enumerate(data.split(b"\n")[:12]):
            for topic in topology.CONTROL_READS:
                only(
                    lambda t=topic, n=offset, x=line: control_step(state, t, x, config, START_MS, n),
                    Undecodable,
                )
        for out in take_due(state, "", START_MS + 60_000):
            assert out.value is not None and len(out.value) < 1_000_000
        encode_json(state)

    return one


def _control_seeds() -> list[bytes]:
    request = {
        "id": "r1",
        "pipeline": "parcels",
        "verb": "retrain",
        "reason": "why",
        "by": "me",
        "from_position": 3,
    }
    asks = [
        json.dumps({**request, "id": f"r{n}", "verb": verb})
        for n, verb in enumerate(["hold", "resume", "rollback", "promote"])
    ]
    live = {
        "pipeline": "parcels",
        "version": "v1",
        "why": "",
        "at": 1,
        "position": 9,
        "recipe": "r",
        "applied": ["command-r1"],
    }
    data = {
        "pipeline": "parcels", "episode": "e", "kind": "loss", "state": "firing", "severity": "critical", "reason": "r",
        "detector": {}, "since": {"at": 1, "position": 2}, "detected_at": {"at": 3, "position": 4},
        "suggested_action": "rollback", "target_version": "v1",
    }  # fmt: skip
    event = {
        "id": "1",
        "source": "s",
        "type": "penstock.drift",
        "subject": "parcels",
        "time": "2024-01-01T00:00:00Z",
        "data": data,
    }
    lines = [json.dumps(one) for one in (request, live, event)]
    return ["\n".join([*lines, *asks]).encode(), *(line.encode() for line in lines), b"{" * 50]


def _rich_view() -> Any:
    from types import SimpleNamespace

    import penstock.features as kinds
    from penstock import View, count, distinct, last, mean, since_last, sum

    features: dict[str, Any] = {
        "n_1h": count("1h"), "mean_1d": mean("amount", "1d"), "idle": since_last(), "last": last("shop", holds="text"),
        "sum": sum("amount", "2h"), "kinds": distinct("shop", "1d"), "std": kinds.std("amount", "1d"),
        "visits": count(kinds.session("30m")), "least": kinds.min("amount", "1d"),
        "p50": kinds.quantile("amount", 0.5, "1d"), "top": kinds.top_k("shop", 3), "newest": kinds.last_n("amount", 3),
        "spread": kinds.histogram("amount", [1, 10]), "first": kinds.first("amount"),
        "decayed": kinds.decayed_sum("amount", half_life="1h"), "here": kinds.row("amount * 2"),
    }  # fmt: skip
    return View("rich", SimpleNamespace(name="s", grace_ms=86_400_000), "k", features)


def _states() -> Callable[[bytes], object]:
    from penstock.features.engine.compute import CompiledView, StateMismatch

    view = _rich_view()
    native, python = CompiledView(view, "native"), CompiledView(view, "python")

    def one(data: bytes) -> None:
        state = only(lambda: native.decode(data), StateMismatch)
        other = only(lambda: python.decode(data), StateMismatch)
        if state is None:
            return
        assert other is not None, "C takes a state that Python refuses"
        at = START_MS + 7_200_000
        first = native.encode(state)
        assert native.encode(native.decode(first)) == first, "a state changes by being stored"
        # Numbers that no events give, such as a negative variance, may be told apart by how each engine works them out.
        found, wanted = told(lambda: native.values(state, at)), told(lambda: python.values(other, at))
        assert found == wanted or wanted.startswith("raises"), "C and Python differ"
        only(lambda: native.update_own(state, at, 1, {"amount": 3.5, "shop": "x"}), ValueError, TypeError)
        native.document(state, at, at)
        native.merge(state, native.decode(data))

    return one


def _state_seeds() -> list[bytes]:
    from penstock.features.engine.compute import CompiledView

    view = CompiledView(_rich_view(), "native")
    state, found = view.new(), [view.encode(view.new())]
    for number in range(40):
        view.update(
            state, START_MS + number * 600_000, number, {"amount": number * 1.5, "shop": f"s{number % 30}"}
        )
        if number in (0, 3, 20, 39):
            found.append(view.encode(state))
    return found


def _envelopes() -> Callable[[bytes], object]:
    import msgspec

    from penstock.features.redis.store import MemoryServer, MemoryStateStore
    from penstock.stream.definitions import DefinitionError
    from penstock.stream.featurize.position import decode_position
    from penstock.stream.learn.snapshot import SnapshotHeader
    from penstock.stream.learn.stored_snapshot import StoredSnapshot
    from penstock.stream.models.version import BadEnvelope, Envelope, Version, _signed, key_id, unseal

    def one(data: bytes) -> None:
        for kind in (Version, SnapshotHeader):
            only(lambda k=kind: unseal(data, "secret", k), BadEnvelope)
            only(lambda k=kind: unseal(_signed(data, b"", "secret"), "secret", k), BadEnvelope)
        forged = msgspec.msgpack.encode(Envelope(data, data, key_id("secret"), data[:32]))
        assert only(lambda: unseal(forged, "secret", Version), BadEnvelope) is None
        only(lambda: decode_position(data), DefinitionError)
        server = MemoryServer()
        snapshot = StoredSnapshot(MemoryStateStore(server, "p", "learn"), "p", "secret")
        server.data[snapshot.key], server.data[snapshot.index_key] = data, data
        only(snapshot.load, BadEnvelope)

    return one


def _envelope_seeds() -> list[bytes]:
    import msgspec

    from penstock.stream.featurize.position import Position
    from penstock.stream.models.version import Version, seal

    version = Version(
        id="v1",
        pipeline="p",
        parent=None,
        kind="frozen",
        position=3,
        join_from=1,
        at=5,
        labels=2,
        recipe="r",
        digest="d",
    )
    sealed = seal(version, b"payload", "secret")
    return [
        sealed, seal(version, b"", "another"), msgspec.msgpack.encode(version), msgspec.msgpack.encode(["piece:1", "piece:2"]),
        Position("r", {"topic/0": [5, 7, "id"]}, None, {"topic": [1, 2]}, 9).encode(), sealed[:20], b"", b"\xc0",
    ]  # fmt: skip


TARGETS = [
    Target(
        "entries of the samples log",
        "what is no entry is passed over; C and Python fold alike",
        _entries,
        _entry_seeds,
    ),
    Target("control records", "what is no message is Undecodable", _control, _control_seeds),
    Target(
        "states of entities",
        "what is no state is StateMismatch; what C makes of others, Python makes of them, if anything",
        _states,
        _state_seeds,
    ),
    Target("envelopes and positions", "what was not signed is BadEnvelope", _envelopes, _envelope_seeds),
]
