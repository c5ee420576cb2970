"""Dead letters that are sent back: each once."""

from __future__ import annotations

from penstock.stream.operate.dead_letters import Letter, letter, to_send


def made(offset: int, name: str, topic: str = "cards.paid", **more: str) -> Letter:
    notes = {"id": name, "topic": topic, "partition": "0", "offset": str(offset), **more}
    return letter(
        offset, 0, b"c1", b"{", [(f"penstock-{note}", said.encode()) for note, said in notes.items()]
    )


def test_what_a_crash_wrote_again_is_sent_once_where_it_stood_first_and_what_nobody_can_send_is_not() -> None:
    first, other, again = made(1, "t-0-4"), made(2, "t-0-5"), made(3, "t-0-4")
    nameless = [made(4, ""), made(5, "")]
    foreign = made(6, "t-0-6", topic="")
    assert list(to_send([first, other, again, *nameless, foreign])) == [first, other, *nameless]
