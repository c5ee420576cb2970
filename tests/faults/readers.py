"""Readers on the way: what anybody saw in Redis and on the predictions topic while things were done to the roles.

Laws of this file:
- A document is that of its entity after some of its events, all of them from the first on; never parts of two moments.
- It never goes back, unless its Redis was lost meanwhile. What was read of a topic once is there, and the same, at the end.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import redis
from kafka import KafkaConsumer, TopicPartition

from penstock.features.redis.store import connect
from tests.faults.checker import World
from tests.faults.counts import Counts
from tests.faults.reference import OrderedFlow
from tests.naive_features import NaiveView
from tests.patience import PATIENCE_S
from tests.stream.naive_flow import alike

EVERY_S = 0.05
LAST_S = 20.0  # so long a reader of predictions may go on when all is over, to come to their end
KEYS = 60
MOST_SEEN = 12_000


class DocumentReader(threading.Thread):
    """Reads some documents again and again, with a client of its own."""

    def __init__(self, url: str, name: str, keys: Sequence[str], seed: int) -> None:
        super().__init__(name="documents", daemon=True)
        self.url, self.prefix = url, f"features:{name}:"
        self.keys = random.Random(seed).sample(list(keys), min(KEYS, len(keys)))
        self.seen: dict[str, list[bytes]] = {key: [] for key in self.keys}
        self.over = threading.Event()
        self.reads = 0

    def run(self) -> None:
        """Until told to stop; a server that is away is asked again."""
        client = connect(self.url)
        while not self.over.wait(EVERY_S) and self.reads < MOST_SEEN * 10:
            with contextlib.suppress(redis.RedisError, OSError):
                found_all: Any = client.mget(self.keys) if self.keys else []
                for key, found in zip(self.keys, found_all, strict=True):
                    self.reads += 1
                    if found is not None and (not self.seen[key] or self.seen[key][-1] != found):
                        self.seen[key].append(found)

    def stop(self) -> None:
        """End it."""
        self.over.set()
        self.join(PATIENCE_S)


class Read(NamedTuple):
    """What was read of the predictions: by (partition, offset) a sum of its bytes, and in which order; None where nobody read."""

    seen: dict[tuple[int, int], int]
    order: list[tuple[int, int]] | None


class PredictionReader(threading.Thread):
    """Follows the predictions topic from its start, as a service would."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        super().__init__(name="predictions", daemon=True)
        self.bootstrap, self.tps = bootstrap, [TopicPartition(topic, number) for number in range(partitions)]
        self._order: list[tuple[int, int]] = []
        self.read = Read({}, self._order)
        self.over = threading.Event()

    def run(self) -> None:
        """Until told to stop."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            enable_auto_commit=False,
            check_crcs=False,
            reconnect_backoff_max_ms=500,
        )
        consumer.assign(self.tps)
        consumer.seek_to_beginning(*self.tps)
        until_s = math.inf
        while time.monotonic() < until_s:
            if self.over.is_set():
                until_s = min(until_s, time.monotonic() + LAST_S)
            with contextlib.suppress(Exception):  # a broker that is away
                for tp, records in consumer.poll(timeout_ms=200).items():
                    for one in records:
                        self.read.seen[(tp.partition, one.offset)] = zlib.crc32(one.value)
                        self._order.append((tp.partition, one.offset))
                if self.over.is_set() and all(
                    consumer.position(tp) >= end for tp, end in consumer.end_offsets(self.tps).items()
                ):
                    break
        consumer.close()

    def stop(self) -> None:
        """End it."""
        self.over.set()
        self.join(PATIENCE_S)


def check_seen(
    world: World, flow: OrderedFlow, documents: Mapping[str, Sequence[bytes]], counts: Counts
) -> None:
    """What was read of documents against what their entities' events give. Who saw no document change saw nothing."""
    if documents and not any(len(set(seen)) > 1 for seen in documents.values()):
        counts.add("stuck", f"a reader saw no document of {len(documents)} change")
    views = {
        f"features:{world.name}:{name}:{entity}": view for (name, entity), view in flow.documents().items()
    }
    for key, seen in documents.items():
        view, before, newest = views.get(key), 0, -1
        for stored in seen:
            document = json.loads(stored)
            if view is None:
                counts.add("wrong", f"{key} was read and has no events")
                break
            if document["at"] < newest and not world.recovered:
                counts.add("reordered", f"{key} went back from {newest} to {document['at']}")
            newest = max(newest, document["at"])
            after = _after(view, document, 0 if world.recovered else before)
            if after is None:
                counts.add("torn", f"{key} was {document['values']}, which no number of its events gives")
            else:
                before = after


def _after(view: NaiveView, document: Mapping[str, Any], least: int) -> int | None:
    """After how many events a document says what it says."""
    found = [*document["values"].values()]
    for number in range(max(least, 1), len(view.events) + 1):
        if alike(found, view.first(number).values(document["at"])):
            return number
    return None


def check_read(world: World, read: Read, counts: Counts) -> None:
    """What a service read of the predictions stands there still, and came in its order. Half of them were read on the way."""
    final = {
        (record.partition, record.offset): zlib.crc32(record.value or b"")
        for records in world.raw.whole(f"{world.name}.predictions")
        for record in records
    }
    for place, value in read.seen.items():
        if final.get(place) != value:
            counts.add("torn", f"the prediction at {place} was read, and is another now or gone")
    if read.order is not None and len(read.order) < len(final) / 2:
        counts.add("stuck", f"a reader saw {len(read.order)} of {len(final)} predictions")
    newest: dict[int, int] = {}
    for partition, offset in read.order or ():
        if offset <= newest.get(partition, -1):
            counts.add("reordered", f"the prediction at {(partition, offset)} came after {newest[partition]}")
        newest[partition] = offset
