"""What `test_reading_under_change` asks of readers of one server, asked of those of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock.features.redis.keys import live_key, private_prefix, public_key
from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.store import connect
from tests.effort import first_here
from tests.stream.backfill.test_reading_under_change import (
    FIRST,
    LETTER_OF,
    ORDER,
    OfDocuments,
    OfStates,
    Plain,
    Reader,
    Seen,
    Writers,
    check,
    counted,
    following,
    small,
)

__all__ = ["following", "small"]


class PlainOfCluster(Plain):
    """A `GET` each, of the key that the documented rule gives."""

    def read(self) -> dict[tuple[str, str], float] | None:
        order = [LETTER_OF[pipeline.views[0].version] for pipeline in ORDER]
        found = {}
        for one in self.wanted:
            text: Any = self.client.get(public_key("till", *one))
            if text is not None:
                document = json.loads(text)
                letter = LETTER_OF[document["recipe"]]
                phase = self.phase.get(one, 0)
                assert letter in order[phase:], f"{one} went back to {letter}"
                self.phase[one] = phase + order[phase:].index(letter)
                found[one] = counted(letter, document["values"])
        return found


def readers_of(url: str, seen: Seen) -> list[Reader]:
    return [
        OfDocuments(url, seen),
        PlainOfCluster(url, seen),
        *(OfStates(url, seen, pipeline) for pipeline in ORDER[:3]),
    ]


@pytest.mark.parametrize("seed", first_here(range(2)))
@pytest.mark.usefixtures("small")
def test_no_reader_of_a_cluster_sees_anything_torn_mixed_lost_or_older(
    cluster_url: str, seed: int, following: Callable[[Sequence[Reader]], list[BaseException]]
) -> None:
    keyspace = RedisKeyspace(connect(cluster_url))
    for prefix in (private_prefix("till"), f"{live_key('till')}:", live_key("till")):
        for batch in keyspace.scan(prefix):
            keyspace.delete(batch)
    seen = Seen()
    here = readers_of(cluster_url, seen)
    writers = Writers(cluster_url, seed, here)
    wrong = following(readers_of(cluster_url, seen)[:2])
    for before, after in zip(ORDER, ORDER[1:], strict=False):
        writers.work(before, chunks=writers.chance.randrange(2, 4))
        writers.backfill(after)
    writers.work(FIRST, chunks=2)
    writers.settle()
    check(writers, seen, here, wrong)
