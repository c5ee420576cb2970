"""The merge against an oracle that looks for the earliest head again for every record."""

from __future__ import annotations

from collections.abc import Sequence

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
