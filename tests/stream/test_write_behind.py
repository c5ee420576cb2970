"""Work in threads: in order through each step, errors told once and nothing done that follows one."""

from __future__ import annotations

import threading
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.process.write_behind import WriteBehind, Writer, WriteThrough
from tests.patience import PATIENCE_S
from tests.stream.later import Later

WRITERS = st.one_of(
    st.just("a thread a step"), st.just("at once"), st.lists(st.integers(0, 15), min_size=1, max_size=5)
)


def writer_of(kind: str | list[int]) -> Writer:
    if isinstance(kind, list):
        return Later(cycle(kind))
    return WriteThrough() if kind == "at once" else WriteBehind("test", steps=2)


@settings(deadline=None)
@given(WRITERS, st.integers(0, 12), st.sets(st.tuples(st.integers(0, 11), st.integers(0, 1)), max_size=2))
def test_pieces_go_through_each_step_in_order_and_an_error_is_told_once_before_anything_follows_it(
    kind: str | list[int], pieces: int, raising: set[tuple[int, int]]
) -> None:
    done: list[tuple[int, int]] = []
    told: list[str] = []
    writer = writer_of(kind)

    def step(piece: int, at: int) -> None:
        if (piece, at) in raising:
            raise ArithmeticError(f"{piece}, {at}")
        done.append((piece, at))

    given_up_at = pieces
    try:
        for piece in range(pieces):
            writer.run(lambda piece=piece: step(piece, 0), lambda piece=piece: step(piece, 1))  # type: ignore[misc]
        writer.finish()
    except ArithmeticError as error:
        told.append(str(error))
    writer.finish()
    writer.close()
    firsts, seconds = ([piece for piece, at in done if at == which] for which in (0, 1))
    # each step sees the pieces in order, and none of a piece comes before its first
    assert firsts == list(range(len(firsts))) and seconds == list(range(len(seconds)))
    assert all(done.index((piece, 0)) < done.index((piece, 1)) for piece in seconds)
    first_lost = min((piece for piece, _ in raising if piece < pieces), default=given_up_at)
    assert len(seconds) == first_lost, "saved is all before the first that failed, and nothing behind it"
    assert len(firsts) <= first_lost + 2, "of what follows it at most one was begun"
    assert bool(told) == (first_lost < pieces)


def test_a_later_step_of_one_piece_is_done_beside_the_first_of_the_next() -> None:
    saving, let_go, produced = threading.Event(), threading.Event(), threading.Event()

    def save() -> None:
        saving.set()
        assert let_go.wait(PATIENCE_S)

    writer = WriteBehind("test", steps=2)
    writer.run(lambda: None, save)
    assert saving.wait(PATIENCE_S)
    writer.run(produced.set, lambda: None)
    assert produced.wait(PATIENCE_S), "while the one before is being saved"
    let_go.set()
    writer.finish()
    writer.close()


def test_more_steps_than_threads_are_refused() -> None:
    writer = WriteBehind("test")
    with pytest.raises(ValueError, match="2 steps, but threads for 1"):
        writer.run(lambda: None, lambda: None)
    writer.close()
