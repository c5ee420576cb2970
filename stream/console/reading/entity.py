"""An entity's features from Redis, as `penstock features get` reads them, and what the newest samples say of all.

Laws of this file:
- Values are the reader's own (`FeatureReader`), as of the moment asked for. Where another definition runs than the file here
  says, the public documents are read, and that is said.
- What is said of all entities is of the newest samples alone, so many as could be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import redis

from penstock.features.engine.compute import StateMismatch
from penstock.features.read.client import FeatureReader, Features, MomentPassed
from penstock.features.redis.keys import entity_key
from penstock.features.redis.refused import unusable
from penstock.features.redis.store import address
from penstock.features.units import StoreRefused, StoreUnavailable
from penstock.stream import topology
from penstock.stream.console.feature_words import changes
from penstock.stream.console.reading.backwards import Budget, backwards
from penstock.stream.console.reading.servers import Servers
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.entries import entry_of
from penstock.stream.messages import Sample, Tick
from penstock.stream.operate.stored_features import tasks_of, what_is_missing

MOST_SAMPLES = 2_000
LOOK_S = 4.0


class Found(NamedTuple):
    """What was found of an entity. `changes` says when each value changes by time alone, where that is known."""

    features: Features | None
    changes: Mapping[str, int | None]
    said: str = ""


class Share(NamedTuple):
    """Of the newest samples: how many had no value for an input, and how many the one of an entity without events."""

    nulls: int
    defaults: int


class Newest(NamedTuple):
    """What the newest samples say: shares by the name of the input, over `samples` at [`start`, `end`) of the samples log.

    `reached` is the event time (ms) to which each source was read, by the newest tick among them.
    """

    samples: int
    start: int
    end: int
    shares: Mapping[str, Share]
    reached: Mapping[str, int]
    others: int


def look_up(
    servers: Servers, pipeline: Pipeline, view: str, entity: tuple[str, ...], at_ms: int | None
) -> Found:
    """An entity's features. Raises nothing: `said` is why there are none, or what is to be known of them."""
    client, name, prefix = servers.client, pipeline.name, servers.prefix
    wanted: Any = [(view, entity if len(entity) > 1 else entity[0])]
    try:
        tasks = tasks_of(pipeline, client, prefix)
        reader = FeatureReader(client, name, pipeline.views, prefix=prefix, tasks=tasks)
        try:
            [features] = reader.read(wanted, at_ms)
        except MomentPassed as error:
            return Found(
                None, {}, f"{error}: ask for that moment or a later one, or look at a sample of that time"
            )
        except StateMismatch as error:
            [features] = FeatureReader(client, name, prefix=prefix).read(wanted)
            return Found(features, {}, f"{error}. These are the public documents, as they were last written")
        if not features.found:
            return Found(features, {}, what_is_missing(client, name, prefix, view))
        compiled = reader.compiled(view)
        [state] = reader.states([(view, entity_key(entity))])
        at = features.at_ms
        if state is None or at is None or state.newest > at:
            return Found(features, {}, "An event of it came while this page was made.")
        return Found(features, changes(compiled, state, at))
    except redis.RedisError as problem:
        said = unusable(problem, address(client), "check that Redis runs there")
        return Found(None, {}, f"Redis cannot be read: {said}")
    except (StoreRefused, StoreUnavailable) as error:
        return Found(None, {}, f"Redis cannot be read: {error}")


def newest(servers: Servers, pipeline: Pipeline, defaults: Mapping[str, Any]) -> Newest:
    """What the newest samples of this definition say. `defaults` are values without events by input. Raises `LogError`."""
    tp = (topology.samples(pipeline.name, servers.prefix), 0)
    _, end = servers.log.bounds([tp])[tp]
    names, start, count, others = pipeline.vector_names, end, 0, 0
    nulls, plain = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    reached: dict[str, int] = {}
    for part in backwards(servers.log, tp, Budget(LOOK_S, 16_000_000), stop=end):
        for record in reversed(part.records):
            entry = entry_of(record.value)
            if isinstance(entry, Tick) and not reached and entry.look is None:
                for place, at in entry.times.items():
                    topic = place.rpartition("/")[0]
                    reached[topic] = max(reached.get(topic, -1), at)
            if not isinstance(entry, Sample) or count >= MOST_SAMPLES:
                continue
            start = record.offset
            if len(entry.x) != len(names) or entry.recipe not in ("", pipeline.digest):
                others += 1
                continue
            count += 1
            for name, value in zip(names, entry.x, strict=True):
                nulls[name] += value is None
                plain[name] += value is not None and name in defaults and value == defaults[name]
        if count >= MOST_SAMPLES:
            break
    shares = {name: Share(nulls[name], plain[name]) for name in names}
    return Newest(count, start, end, shares, reached, others)
