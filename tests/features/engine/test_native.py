"""The engine in C against the engine in Python: the same bits, whatever happens; and memory."""

import gc
import math
import struct
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.features as f
from penstock import View
from penstock.features.engine.choose import engine_name
from penstock.features.engine.compute import CompiledView, StateMismatch
from penstock.features.redis.resp import save_command
from penstock.features.units import Write
from tests.effort import examples
from tests.features.engine.test_engine import DAY, HOUR, MINUTE, SOURCE, scales, steps, texts, views

native = pytest.importorskip("penstock.features.engine.native", reason="the extension was not built")

# Any floats at all, and whole ones: the order of additions shows in the bits.
values = st.one_of(
    st.none(), st.integers(-20, 20), st.floats(-1e12, 1e12), st.just(-0.0), st.floats(-1e300, 1e300)
)
events = st.fixed_dictionaries({"a": values, "b": values, "c": texts})


def engines(view: View) -> tuple[CompiledView, CompiledView]:
    return CompiledView(view, "python"), CompiledView(view, "native")


def bits(found: Any) -> Any:
    """What tells every two values apart: 0.0 from -0.0, a float from a whole number, NaN from nothing."""
    if isinstance(found, float):
        return struct.pack("<d", found)
    return [bits(one) for one in found] if isinstance(found, list) else (type(found), found)


script = st.lists(
    st.tuples(st.sampled_from(["update", "own", "read", "restore"]), steps, st.integers(0, 3), events),
    max_size=60,
)


@settings(max_examples=examples(500))
@given(views, st.integers(-(10**9), 10**12), script)
def test_both_engines_agree_in_every_bit(view: View, at: int, script: list[Any]) -> None:
    """In any order, with reads between; each goes on from what the other stored."""
    python, fast = engines(view)
    mine, theirs = python.new(), fast.new()
    for serial, (action, step, tie, event) in enumerate(script):
        at += step
        order = tie * 1000 + serial
        if action == "update":
            python.update(mine, at, order, event)
            fast.update(theirs, at, order, event)
        elif action == "own":
            one, other = python.update_own(mine, at, order, event), fast.update_own(theirs, at, order, event)
            assert bits(one) == bits(other)
        elif action == "restore":
            stored = python.encode(mine)
            assert stored == fast.encode(theirs)
            mine, theirs = python.decode(fast.encode(theirs)), fast.decode(stored)
        else:
            moment = at + tie * MINUTE
            assert bits(python.values(mine, moment)) == bits(fast.values(theirs, moment))
            assert bits(python.vector(mine, moment)) == bits(fast.vector(theirs, moment))
            assert python.until(mine, moment) == fast.until(theirs, moment)
            assert python.document(mine, moment, at) == fast.document(theirs, moment, at)
    assert python.encode(mine) == fast.encode(theirs)
    assert mine.newest == theirs.newest


@settings(max_examples=examples(100))
@given(
    st.sampled_from([11, 16, 17, 40, 200]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 250)), min_size=40, max_size=250),
)
def test_both_engines_agree_in_long_windows(span: int, script: list[tuple[int, int]]) -> None:
    """More tiles than are folded in order, late events among them, and reads ahead: blocks of the same tiles."""
    window = f.hopping(f"{span}ms", "1ms")
    view = View("card", SOURCE, "card", dict(
        s=f.sum("a", window), v=f.variance("a", f.hopping("17ms", "1ms")), hi=f.max("a", f.hopping(f"{span * 2}ms", "1ms")),
        d=f.distinct("a", window), l=f.last("a", window), q=f.quantile("a", 0.5, window), n=f.last_n("a", 3, window),
    ))  # fmt: skip
    python, fast = engines(view)
    mine, theirs, at = python.new(), fast.new(), 0
    for tie, (step, ahead) in enumerate(script):
        at += step % 4 if step < 50 else step - 54 if step < 57 else step
        event = {"a": 0.1 * (step * 7 % 61)}
        assert bits(python.update_own(mine, at, tie, event)) == bits(fast.update_own(theirs, at, tie, event))
        if ahead % 3 == 0:
            assert bits(python.values(mine, at + ahead)) == bits(fast.values(theirs, at + ahead))
            assert python.until(mine, at + ahead) == fast.until(theirs, at + ahead)
        if ahead % 20 == 0:
            theirs = fast.decode(fast.encode(theirs))
    assert python.encode(mine) == fast.encode(theirs)


@settings(max_examples=examples(150))
@given(views, st.lists(st.tuples(st.integers(0, 40), events, st.booleans()), max_size=30), scales)
def test_both_engines_merge_alike(view: View, script: list[Any], scale: int) -> None:
    merged = []
    for engine in engines(view):
        parts = (engine.new(), engine.new())
        for tie, (n, event, left) in enumerate(script):
            engine.update(parts[left], n * scale % DAY, tie, event)
        state = engine.merge(*parts)
        merged.append((engine.encode(state), bits(engine.values(state, DAY)), engine.until(state, DAY)))
    assert merged[0] == merged[1]


def test_both_engines_agree_on_sets_that_became_registers() -> None:
    view = View(
        "card",
        SOURCE,
        "card",
        dict(d=f.distinct("x"), w=f.distinct("x", "1h"), s=f.distinct("x", f.session("1h"))),
    )
    python, fast = engines(view)
    mine, theirs = python.new(), fast.new()
    for i in range(3000):
        event = {"x": f"user{i * 31 % 2000}"}
        at = i * 4 * HOUR // 3000
        assert bits(python.update_own(mine, at, i, event)) == bits(fast.update_own(theirs, at, i, event))
        if i % 500 == 0:
            assert python.encode(mine) == fast.encode(theirs)
            theirs = fast.decode(python.encode(mine))
    assert python.values(mine, 5 * HOUR) == fast.values(theirs, 5 * HOUR)


def test_both_engines_write_the_same_of_a_unit() -> None:
    python, fast = engines(EVERYTHING)
    mine = {f"e{i}": folded(python, i) for i in range(40)}
    theirs = {f"e{i}": folded(fast, i) for i in range(40)}
    some = {f"e{i}" for i in range(0, 40, 3)}
    for public in ("features:p:card:", ""):
        one = python.writes(mine, some, "penstock:ß:", public, 100 * HOUR, 7, 60_000)
        other = fast.writes(theirs, some, "penstock:ß:", public, 100 * HOUR, 7, 60_000)
        assert one == other and all(type(write) is Write for write in other) and len(one) == 14
        opening, values = (
            ["EVALSHA", "0a" * 20, 3 + 2 * len(one), "t", "g", "p"],
            ["token", b"\0\xff", b"", -1],
        )
        command = save_command(opening, values, one)
        assert native.save_command(opening, values, other) == command
        hiredis = pytest.importorskip("hiredis")
        arguments = [*opening, *(k for w in one for k in (w[0], w[2])), *values]
        assert command == hiredis.pack_command((*arguments, *(v for w in one for v in (w[1], w[3], w[4]))))
    for wrong in (1.5, None, ["x"]):
        with pytest.raises(TypeError):
            native.save_command([wrong], [], [])


def test_numbers_in_documents_have_the_form_of_the_json_encoder() -> None:
    view = View("card", SOURCE, "card", dict(l=f.last("a"), s=f.sum("a"), m=f.max("a", "1h", default=-0.0)))
    python, fast = engines(view)
    for a in (
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1e14,
        999999999999999.0,
        1e15,
        -1e15,
        1e16,
        1e17,
        2.0**53,
        1e300,
        5e-324,
        -2.5,
    ):
        mine, theirs = python.new(), fast.new()
        assert python.document(mine, 0, 0) == fast.document(theirs, 0, 0)
        python.update(mine, 1, 0, {"a": a})
        fast.update(theirs, 1, 0, {"a": a})
        assert python.document(mine, -5, 1) == fast.document(theirs, -5, 1), a


EVERYTHING = View("card", SOURCE, "card", dict(
    n=f.count("1h"), s=f.sum("a", "1d", where="b > 0"), m=f.mean("a", f.tumbling("1d")), v=f.std("a", f.session("1h")),
    lo=f.min("a"), hi=f.max("a", "1h"), first=f.first("a", "1h"), last=f.last("c", holds="text"), lately=f.last_n("a", 3, "1d"),
    d=f.distinct("c", "1h"), q=f.quantile("a", 0.5, "1h"), k=f.top_k("c", 2), h=f.histogram("a", [0, 10], "1h"),
    w=f.decayed_mean("a", "1h"), row=f.row("a / b"), idle=f.since_last(where="a > 0"), x=f.variance("a"),
))  # fmt: skip


def folded(engine: CompiledView, n: int) -> Any:
    state = engine.new()
    for i in range(n):
        event = {"a": i % 23 - 5.5, "b": i % 7 - 3, "c": f"user{i % 40}"}
        engine.update_own(state, i * 7 * MINUTE + i // 50 * 3 * HOUR, i, event)
    return state


@settings(max_examples=examples(500))
@given(st.data())
def test_bytes_that_are_no_state_are_refused_and_never_followed(data: Any) -> None:
    """Cut, changed or made up: StateMismatch, or a state that can be used and written."""
    engine = FAST
    stored = bytearray(STORED[data.draw(st.integers(0, len(STORED) - 1), "which")])
    for _ in range(data.draw(st.integers(1, 4), "changes")):
        at = data.draw(st.integers(0, len(stored) - 1) | st.integers(0, min(60, len(stored) - 1)), "at")
        piece = data.draw(st.binary(max_size=3) | st.sampled_from(TAGS), "piece")
        stored[at : at + data.draw(st.integers(0, 9), "length")] = piece
        if not stored:
            return
    try:
        state = engine.decode(bytes(stored))
    except StateMismatch:
        return
    engine.values(state, 0)
    engine.until(state, HOUR)
    engine.encode(state)
    engine.update_own(state, 400 * HOUR, 0, {"a": 1, "b": 2, "c": "x"})
    written = engine.encode(state)
    assert engine.encode(engine.decode(written)) == written


TAGS = [bytes([tag]) for tag in range(256)] + [
    b"\xdd\xff\xff\xff\xff",
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + b"\0" * 7,
]
FAST = CompiledView(EVERYTHING, "native")
STORED = [FAST.encode(folded(FAST, n)) for n in (0, 1, 7, 120)]


def test_a_state_that_was_cut_anywhere_is_refused() -> None:
    engine = FAST
    whole = STORED[-1]
    for end in range(len(whole)):
        with pytest.raises(StateMismatch):
            engine.decode(whole[:end])
    with pytest.raises(StateMismatch, match="follows"):
        engine.decode(whole + b"\0")


def test_nested_bytes_do_not_exhaust_the_stack() -> None:
    at = STORED[1].index(b"\x91\x92\xa5user")  # a column that is a Python object
    with pytest.raises(StateMismatch):
        FAST.decode(STORED[1][:at] + b"\x91" * 1_000_000)
    with pytest.raises(StateMismatch):
        FAST.decode(STORED[1][:at] + b"\x91" * 1_000_000 + b"\xc0" * 100)


@pytest.mark.long
def test_events_leave_nothing_behind_but_the_state() -> None:
    """A hundred thousand events, restored now and then; what they held is let go."""
    engine, marker = CompiledView(EVERYTHING, "native"), "a text that only this test holds"
    state, sizes, counts = engine.new(), [], []
    for i in range(100_000):
        event = {"a": i % 977 + 0.5, "b": i % 5 - 2, "c": marker if i % 3 else f"user{i % 500}"}
        at = i * 20_000 - (i % 11) * MINUTE
        if i % 4:
            engine.update(state, at, i, event)
        else:
            engine.update_own(state, at, i, event)
        if i % 1000 == 0:
            state = engine.decode(engine.encode(state))
        if i % 10_000 == 9_999:
            engine.values(state, at)
            gc.collect()
            counts.append(len(gc.get_objects()))
            sizes.append(state.__sizeof__())
    assert sizes[-1] <= 1.5 * sizes[2]
    assert counts[-1] <= counts[1] + 1000
    del state, event
    assert sys.getrefcount(marker) < 10


def test_a_state_is_freed_with_what_it_holds() -> None:
    engine, held = CompiledView(EVERYTHING, "native"), "x" * 100
    before = sys.getrefcount(held)
    for _ in range(100):
        state = engine.new()
        for i in range(40):
            engine.update_own(state, i * 9 * MINUTE, i, {"a": i, "b": 1, "c": held})
        engine.values(state, 0)
        del state
    assert sys.getrefcount(held) <= before + 10
    assert not gc.is_tracked(engine.new()), "the cycle collector need not walk millions of states"


def test_a_failure_in_the_middle_of_an_event_leaves_the_state_usable() -> None:
    engine = CompiledView(
        View("card", SOURCE, "card", dict(d=f.distinct("x", "1h"), n=f.count("1h"))), "native"
    )
    state = engine.new()
    engine.update(state, 0, 0, {"x": "a"})
    with pytest.raises(TypeError):
        engine.update(state, 1, 1, {"x": []})
    engine.update(state, 2, 2, {"x": "b"})
    assert engine.values(state, 2)[0] == 2.0


def test_a_state_is_used_by_one_call_at_a_time_and_by_its_own_view() -> None:
    engine = CompiledView(View("card", SOURCE, "card", dict(s=f.sum("a"))), "native")
    state = engine.new()

    class Meddling(float):
        def __float__(self) -> float:
            engine.update(state, 0, 0, {"a": 1})
            return 1.0

    with pytest.raises(RuntimeError, match="another call"):
        engine.update(state, 0, 0, {"a": Meddling(1)})
    engine.update(state, 0, 0, {"a": 2})
    assert engine.values(state, 0) == [2.0]
    other = CompiledView(View("card", SOURCE, "card", dict(s=f.sum("a"))), "native")
    with pytest.raises(ValueError, match="another view"):
        other.values(state, 0)


def test_the_engine_is_chosen_by_one_variable() -> None:
    assert engine_name({}) == engine_name({"PENSTOCK_ENGINE": "native"}) == "native"
    assert engine_name({"PENSTOCK_ENGINE": "python"}) == "python"
    with pytest.raises(ValueError, match="native or python"):
        engine_name({"PENSTOCK_ENGINE": "fast"})
    view = View("card", SOURCE, "card", dict(n=f.count("1h")))
    assert [CompiledView(view, name).engine for name in ("python", "native")] == ["python", "native"]


def test_whole_numbers_beyond_the_floats_keep_their_meaning() -> None:
    """Products of counts are divided exactly, as Python does."""
    view = View("card", SOURCE, "card", dict(v=f.variance("a", "1h")))
    python, fast = engines(view)
    state = python.new()
    python.update(state, 0, 0, {"a": 0.1})
    python.update(state, 10 * MINUTE, 1, {"a": 0.7})
    parts = list(msgspec.msgpack.decode(python.encode(state)))
    for tile, n in zip(parts[3][0][1], (94_906_267, 94_906_269), strict=True):
        tile[0][0] = n
    stored = msgspec.msgpack.encode(parts)
    found = [engine.values(engine.decode(stored), 10 * MINUTE) for engine in (python, fast)]
    assert bits(found[0]) == bits(found[1]) and math.isfinite(found[0][0])
