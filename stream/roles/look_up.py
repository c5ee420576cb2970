"""The digest of a version that only the store knows, for whoever asks for it: commands and console alike."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from penstock.features.redis.store import StoreRefused, StoreUnavailable
from penstock.stream.messages import OperatorRequest
from penstock.stream.models.version import ALIASES
from penstock.stream.operate import registry
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start


def looked_up(request: OperatorRequest, settings: Settings, warn: Callable[[str], None]) -> OperatorRequest:
    """The request with the digest of a version that only the store knows: a named or an imported one.

    Where the store cannot be asked (no secret, no Redis) the request is left as it is: every other version learn knows itself.
    """
    if request.version is None or request.version in ALIASES or not settings.secret:
        return request
    try:
        client = start.open_redis(settings)
        version, digest = registry.to_ask_for(
            start.versions_of(request.pipeline, settings, client), request.version
        )
    except (StoreRefused, StoreUnavailable) as error:
        warn(f"names that people gave are not looked up: {error}")
        return request
    return msgspec.structs.replace(request, version=version, digest=digest)
