"""Where a pipeline's features are stored, for whoever reads some: which tasks keep its state, and why nothing was found."""

from __future__ import annotations

import json
from typing import Any

from penstock.features.redis.keys import live_key, position_key
from penstock.features.redis.store import address
from penstock.stream.definitions import Pipeline
from penstock.stream.operate.pipelines import in_redis, unknown
from penstock.stream.topology import deployed

MOST_TASKS = 1_024


def tasks_of(pipeline: Pipeline | None, client: Any, prefix: str) -> tuple[str, ...]:
    """The tasks that keep the pipeline's state: one, or one a partition, as many as have a position in Redis."""
    if pipeline is None or not pipeline.partitioned:
        return ("all",)
    name = deployed(pipeline.name, prefix)
    found: Any = client.mget([position_key(name, str(n)) for n in range(MOST_TASKS)])
    return tuple(str(number) for number, position in enumerate(found) if position is not None) or ("all",)


def what_is_missing(client: Any, pipeline: str, prefix: str, view: str) -> str:
    """Why nothing was found, if it is not the entities: no such pipeline or view here; with those there are."""
    [stored] = client.mget([live_key(deployed(pipeline, prefix))])
    if stored is None:
        return unknown(pipeline, in_redis(client, prefix), f"serves features from Redis at {address(client)}")
    views = json.loads(stored)["views"]
    return (
        ""
        if view in views
        else f"pipeline {pipeline!r} serves no view {view!r}; its views: {', '.join(views)}"
    )
