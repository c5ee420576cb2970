"""The merge against an oracle that looks for the earliest head again for every record."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.merge import Head, Merge
from penstock.stream.log.protocol import Record


def items(head: Head, times: Sequence[int]) -> list[Item]:
    source, partition = head
    newest = -1
    found = []
    for offset, at in enumerate(times):
        newest = max(newest, at)
        record = Record(f"topic{source}", partition, offset, 0, None, b"", ())
        found.append(Item(at, source, partition, offset, newest, "", {}, None, record))
    return found


def naive_merge(queues: dict[Head, list[Item]]) -> list[Item]:
    queues = {head: list(queue) for head, queue in queues.items()}
    merged = []
    while any(queues.values()):
        head = min((queue[0].at, head) for head, queue in queues.items() if queue)[1]
        merged.append(queues[head].pop(0))
    return merged


times = st.lists(st.integers(0, 20), max_size=12)
partitions = st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 2)), times, min_size=1, max_size=5)


@given(partitions)
def test_everything_at_its_end_comes_in_the_order_of_the_earliest_head(
    given_times: dict[Head, list[int]],
) -> None:
    queues = {head: items(head, of_head) for head, of_head in given_times.items()}
    merge = Merge(queues)
    for head, queue in queues.items():
        merge.enqueue(head, queue)
    assert list(merge.take(queues.keys())) == naive_merge(queues)
    assert len(merge) == 0


@given(partitions, st.data())
def test_the_order_is_the_same_however_the_records_arrive(
    given_times: dict[Head, list[int]], data: st.DataObject
) -> None:
    queues = {head: items(head, of_head) for head, of_head in given_times.items()}
    merge = Merge(queues)
    rest = {head: list(queue) for head, queue in queues.items()}
    taken: list[Item] = []
    while any(rest.values()):
        head = data.draw(st.sampled_from([head for head, queue in rest.items() if queue]))
        number = data.draw(st.integers(1, len(rest[head])))
        merge.enqueue(head, rest[head][:number])
        del rest[head][:number]
        taken += merge.take({head for head, queue in rest.items() if not queue})
    taken += merge.take(queues.keys())
    assert taken == naive_merge(queues)


@given(partitions, st.data())
def test_taking_a_few_at_a_time_changes_nothing(
    given_times: dict[Head, list[int]], data: st.DataObject
) -> None:
    queues = {head: items(head, of_head) for head, of_head in given_times.items()}
    merge = Merge(queues)
    for head, queue in queues.items():
        merge.enqueue(head, queue)
    taken: list[Item] = []
    while len(merge):
        ready = merge.take(queues.keys())
        for _ in range(data.draw(st.integers(1, 5))):
            taken += [item for item in [next(ready, None)] if item is not None]
    assert taken == naive_merge(queues)


def test_a_dry_partition_that_is_not_at_its_end_holds_everything_back() -> None:
    merge = Merge([(0, 0), (1, 0)])
    merge.enqueue((0, 0), items((0, 0), [1, 2, 3]))
    assert list(merge.take(set())) == []
    assert len(merge) == 3
    assert [item.at for item in merge.take({(1, 0)})] == [1, 2, 3]


def test_it_stops_where_a_partition_runs_dry_before_its_end() -> None:
    merge = Merge([(0, 0), (1, 0)])
    merge.enqueue((0, 0), items((0, 0), [1, 5]))
    merge.enqueue((1, 0), items((1, 0), [2, 3]))
    assert [(item.source, item.at) for item in merge.take(set())] == [(0, 1), (1, 2), (1, 3)]
    assert len(merge) == 1


def test_equal_times_go_by_source_then_partition() -> None:
    heads = [(1, 0), (0, 1), (0, 0)]
    merge = Merge(heads)
    for head in heads:
        merge.enqueue(head, items(head, [7]))
    assert [(item.source, item.partition) for item in merge.take(set(heads))] == [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("value_bytes", "heads", "most"), [(80, 1, 20_000), (10_000, 1, 7_000), (900_000, 4, 20), (80, 12, 7_000)]
)
def test_a_partition_is_full_by_its_records_or_by_their_bytes(
    value_bytes: int, heads: int, most: int
) -> None:
    every = [(0, number) for number in range(heads)]
    merge = Merge(every)
    value = bytes(value_bytes)
    one = items((0, 0), [1])[0]
    one = one._replace(record=one.record._replace(value=value))
    count = 0
    while not merge.full(()) and count < 30_000:
        merge.enqueue((0, 0), [one] * max(most // 20, 1))
        count += max(most // 20, 1)
    assert 0.7 * most <= count <= 1.1 * most
    assert count * value_bytes < 70_000_000 / heads
    taken = merge.take(every)
    for _ in range(count // 2):
        next(taken)
    assert merge.full([(0, 0)]) == {(0, 0)} and merge.full(()) == set()
    for _ in range(count // 2 - count // 5):
        next(taken)
    assert merge.full([(0, 0)]) == set()
