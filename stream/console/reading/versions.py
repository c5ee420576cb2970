"""Reads the stored versions of a pipeline, for the page of versions.

Laws of this file:
- Each version is verified as `penstock models` verifies it; where that cannot be done the page says why, and shows the rest.
- What was read is kept for `AGAIN_S`: a page that is looked at live asks for it at every change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.features.redis.store import StoreRefused, StoreUnavailable, connect
from penstock.stream.console.page import Asked
from penstock.stream.models.store import ModelStore, RedisModelStore
from penstock.stream.models.version import BadEnvelope, Keys, Version
from penstock.stream.process.settings import Settings

AGAIN_S = 10.0


class Stored(NamedTuple):
    """The stored versions, oldest first, or why they are not known."""

    versions: Sequence[Version] = ()
    why: str = ""


_kept: dict[tuple[int, str, str], tuple[float, Stored]] = {}
_lock = threading.Lock()


def stored(asked: Asked, sources: Any) -> Stored:
    """The stored versions of the pipeline asked for."""
    if sources is None:
        return Stored(why="the store is not read here")
    place = (id(sources), asked.prefix, asked.pipeline)
    with _lock:
        kept = _kept.get(place)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        found = _read(asked, sources)
        _kept[place] = (time.monotonic() + AGAIN_S, found)
        return found


def _read(asked: Asked, sources: Any) -> Stored:
    try:
        store: ModelStore
        # The console gives its servers, which know the settings; a test may give a store of its own.
        settings = getattr(sources, "settings", sources)
        if isinstance(settings, Settings):
            if not settings.secret:
                return Stored(
                    why="PENSTOCK_SECRET is not set for this console, so that signatures cannot be verified"
                )
            keys = Keys(settings.secret, settings.former_secrets)
            client = connect(settings.redis_url)
            try:
                store = RedisModelStore(client, asked.pipeline, keys, settings.models, settings.prefix)
                return Stored(store.versions())
            finally:
                client.close()
        store = sources.store
        return Stored(store.versions())
    except (StoreRefused, StoreUnavailable, BadEnvelope, OSError) as error:
        return Stored(why=str(error))
