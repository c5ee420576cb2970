"""What a contender left in Redis, and what Penstock's samples say that it must be: values by customer and feature name."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.features_job import pipeline, reference_view
from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import state_key
from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.topology import deployed

Documents = dict[str, dict[str, float | None]]
READ_AT_ONCE = 10_000


def last_vectors(bootstrap: str, prefix: str) -> Documents:
    """Read the samples log of a run: the features of every customer's last event."""
    job = pipeline()
    tp = (topology.samples(job.name, prefix), 0)
    names = [name.removeprefix("customer.") for name in job.vector_names]
    log = KafkaLog(bootstrap)
    found: Documents = {}
    end = log.bounds([tp])[tp][1]
    reader = log.reader({tp: 0})
    done = 0
    while done < end:
        for record in reader.poll(READ_AT_ONCE, 1.0):
            done = record.offset + 1
            entry = decode_entry(record.value or b"")
            if isinstance(entry, Sample):
                values = dict(zip(names, entry.x, strict=True))
                found[entry.key] = {name: values[name] for name in reference_view().features}  # type: ignore[misc]
    reader.close()
    log.close()
    return found


def documents_in(url: str) -> Documents:
    """Read what a peer wrote: a document per customer."""
    return {
        key.removeprefix(b"features:").decode(): msgspec.json.decode(data)["values"]
        for key, data in _pairs(url, "features:*")
    }


def own_documents(url: str, prefix: str) -> Documents:
    """Read what Penstock wrote: the private states, evaluated at each customer's newest event."""
    view = CompiledView(reference_view())
    stored = state_key(deployed(pipeline().name, prefix), "0", view.view.name, view.view.version, "")
    found: Documents = {}
    for key, data in _pairs(url, f"{stored}*"):
        state: Any = view.decode(data)
        values = view.values(state, view.newest_ms(state) or 0)
        found[key.decode().removeprefix(stored)] = dict(zip(view.names, values, strict=True))  # type: ignore[arg-type]
    return found


def _pairs(url: str, pattern: str) -> list[tuple[bytes, bytes]]:
    with connect(url) as client:
        keys: list[bytes] = list(client.scan_iter(pattern, count=1000))
        values: Any = client.mget(keys) if keys else []
    return list(zip(keys, values, strict=True))
