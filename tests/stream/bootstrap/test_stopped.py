"""A bootstrap that is stopped at any write goes on when it is begun again, and ends as one that was not."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.bootstrap import run as bootstrap_run
from penstock.stream.bootstrap.plan import CannotBootstrap
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LabelRecord, Sample
from tests.effort import examples
from tests.stream.bootstrap.in_files import (
    at_of,
    bootstrapped,
    entries_of,
    flow_of,
    learned,
    opened,
    plan_of,
    published,
    states_of,
    written,
)
from tests.stream.generated import card_events, cards, parcel_events, parcels


class Stopped(Exception):
    """As if the process were killed here."""


class StoppingLog(MemoryLog):
    """A log whose writer dies within an append, after so many records of it."""

    left: int | None = None

    def append(self, outs: list[Out]) -> None:  # type: ignore[override]
        if self.left is not None:
            if len(outs) > self.left:
                super().append(outs[: self.left])
                self.left = None
                raise Stopped
            self.left -= len(outs)
        super().append(outs)


@given(
    one=st.booleans(),
    seed=st.integers(0, 100),
    stops=st.lists(st.tuples(st.booleans(), st.integers(0, 160)), min_size=1, max_size=4),
    keep_every=st.sampled_from([0.0, 1e9]),
)
@settings(max_examples=examples(25))
def test_it_goes_on_from_where_it_was_stopped(
    one: bool, seed: int, stops: list[tuple[bool, int]], keep_every: float
) -> None:
    pipeline: Pipeline = parcels() if one else cards()
    events = list(parcel_events(80, seed) if one else card_events(120, seed))
    until_ms = at_of(pipeline, events[-1])
    options = written(pipeline, events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap_run, "BATCH_ROWS", 16)
        patch.setattr(bootstrap_run, "KEEP_EVERY_S", keep_every)
        patch.setattr(bootstrap_run, "KEEP_SPACING", 0)
        whole = flow_of(pipeline, 2)
        whole.feed(published(pipeline, events, 2))
        bootstrapped(whole, plan_of(whole, options, until_ms))

        log = StoppingLog()
        flow = flow_of(pipeline, 2, log)
        flow.feed(published(pipeline, events, 2))
        plan = plan_of(flow, options, until_ms)
        for in_log, after in stops:
            killed(flow, log, plan, after if in_log else None, None if in_log else after)
        bootstrapped(flow, plan)
    assert entries_of(flow) == entries_of(whole)
    assert states_of(flow) == states_of(whole)
    for one_flow in (flow, whole):
        one_flow.settle()
    assert entries_of(flow) == entries_of(whole)
    assert states_of(flow) == states_of(whole)
    flow.close()
    whole.close()


def killed(flow, log, plan, in_log, in_store) -> None:  # type: ignore[no-untyped-def]
    """A run that dies after so many records appended, or units stored; one that has fewer to write ends by itself."""
    log.left = in_log
    left = in_store
    store_of = flow.store

    def stopping(task: str, name: str = ""):  # type: ignore[no-untyped-def]
        store = store_of(task, name)
        save = store.save

        def one_by_one(units) -> None:  # type: ignore[no-untyped-def]
            nonlocal left
            for unit in units:
                if left is not None:
                    if left == 0:
                        raise Stopped
                    left -= 1
                save([unit])

        store.save = one_by_one
        return store

    flow.store = stopping
    try:
        run = opened(flow, plan)
        run.read()
        run.give()
    except Stopped:
        pass
    finally:
        log.left, flow.store = None, store_of


def test_another_plan_is_refused_while_one_is_not_over_and_afterwards() -> None:
    pipeline, events = parcels(), list(parcel_events(30, 1))
    flow, options = flow_of(pipeline, 2), written(pipeline, events)
    opened(flow, plan_of(flow, options, at_of(pipeline, events[-1])))
    other = plan_of(flow, options, at_of(pipeline, events[-2]))
    with pytest.raises(CannotBootstrap, match="was begun and is not over"):
        opened(flow, other)
    bootstrapped(flow, plan_of(flow, options, at_of(pipeline, events[-1])))
    with pytest.raises(CannotBootstrap, match="is over"):
        opened(flow, other)


def test_no_role_begins_while_history_is_being_read() -> None:
    pipeline, events = parcels(), list(parcel_events(30, 1))
    flow = flow_of(pipeline, 2)
    opened(flow, plan_of(flow, written(pipeline, events), at_of(pipeline, events[-1])))
    with pytest.raises(DefinitionError, match="the same `penstock bootstrap FILE`"):
        flow.settle()


def test_a_pipeline_that_has_state_or_samples_is_refused() -> None:
    pipeline, events = parcels(), list(parcel_events(30, 1))
    flow = flow_of(pipeline, 2)
    flow.feed(published(pipeline, events[:10], 2))
    flow.settle()
    plan = plan_of(flow, written(pipeline, events), at_of(pipeline, events[-1]))
    with pytest.raises(CannotBootstrap, match="has features already"):
        opened(flow, plan)
    flow.server.flushall()
    with pytest.raises(CannotBootstrap, match="has records already"):
        opened(flow, plan)


def test_a_lost_store_is_made_anew_from_the_same_files_and_nothing_is_appended_twice() -> None:
    pipeline, events = parcels(), list(parcel_events(100, 1))
    flow, options = flow_of(pipeline, 2), written(pipeline, events)
    flow.feed(published(pipeline, events, 2))
    plan = plan_of(flow, options, at_of(pipeline, events[60]))
    bootstrapped(flow, plan)
    flow.settle()
    states, given, model = states_of(flow), of_events(entries_of(flow)), learned(flow)["models"]
    flow.server.flushall()
    wall_ms = count(10**12, 1_000)
    flow.featurize.wall_ms = lambda: next(wall_ms)
    with pytest.raises(DefinitionError, match="came from files"):
        for _ in range(10):
            flow.featurize.process_batch(0.0)
    flow.close()
    again = flow_of(pipeline, 2, flow.log)
    bootstrapped(again, plan_of(again, options, at_of(pipeline, events[60])))
    assert of_events(entries_of(again)) == given
    again.settle()
    assert of_events(entries_of(again)) == given
    assert states_of(again) == states and learned(again)["models"] == model


def of_events(entries: list[Any]) -> list[Any]:
    """Samples and labels: ticks of the wall clock come when they come."""
    return [entry for entry in entries if isinstance(entry, Sample | LabelRecord)]


def test_files_that_changed_meanwhile_are_found_out() -> None:
    pipeline, events = parcels(), list(parcel_events(60, 1))
    flow, options = flow_of(pipeline, 2), written(pipeline, events)
    flow.feed(published(pipeline, events, 2))
    until_ms = at_of(pipeline, events[-1])
    plan = plan_of(flow, options, until_ms)
    bootstrapped(flow, plan)
    flow.server.flushall()
    changed = [
        (topic, key, {**event, "weight": 1.0} if "weight" in event else event) for topic, key, event in events
    ]
    options_now = written(pipeline, changed)
    again = plan_of(flow, options_now, until_ms)
    with pytest.raises(CannotBootstrap, match="has records already"):
        opened(flow, again)
