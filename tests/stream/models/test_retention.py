"""Which versions are kept, against a naive rule that looks at everything each time."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.models.retention import Retention

STEPS = st.lists(
    st.tuples(st.integers(0, 300), st.sets(st.integers(0, 40), max_size=4)), min_size=1, max_size=40
)


@given(steps=STEPS, most=st.integers(0, 6), kept_for=st.integers(0, 900))
def test_kept_is_what_is_in_use_and_the_newest_for_a_while(
    steps: list[tuple[int, set[int]]], most: int, kept_for: int
) -> None:
    retention = Retention(most, kept_for)
    at, naive = 0, list[tuple[str, int]]()
    for number, (after, used) in enumerate(steps):
        at += after
        retention.add(f"v{number}", at)
        naive.append((f"v{number}", at))
        in_use = {f"v{one}" for one in used}
        idle = [one for one in naive if one[0] not in in_use]
        young = [one for one in idle[len(idle) - min(most, len(idle)) :] if one[1] >= at - kept_for]
        dropped = [name for name, _ in idle if (name not in [one[0] for one in young])]
        naive = [one for one in naive if one[0] not in dropped]
        assert retention.drop(at, in_use) == dropped
        assert list(retention.born.items()) == naive
        assert all(retention.why_gone(name) for name in dropped)
        assert not any(retention.why_gone(name) for name, _ in naive)
        retention = pickle.loads(pickle.dumps(retention))


def test_what_is_in_use_stays_however_old_and_however_many_there_are() -> None:
    retention = Retention(most=2, kept_for_ms=10)
    used = {f"v{number}" for number in range(5)}
    for number in range(9):
        retention.add(f"v{number}", number)
    retention.drop(8, used)
    assert set(retention.born) == {*used, "v7", "v8"}
    retention.drop(1_000, used)
    assert set(retention.born) == used


def test_a_version_made_again_is_kept_again() -> None:
    retention = Retention(most=0, kept_for_ms=10)
    retention.add("v1", 0)
    assert retention.drop(0, ()) == ["v1"]
    retention.add("v1", 0)
    assert retention.why_gone("v1") is None


def test_what_was_never_there_has_no_reason_to_be_gone() -> None:
    assert Retention().why_gone("v1") is None
