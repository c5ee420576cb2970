"""What follows a request across services: W3C trace context, and a line for the access log.

Laws of this file:
- A line holds no data: a view, an entity, a version, and whatever is not a known path, stand in it as what they are.
- A header that is not W3C's is not passed on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from urllib.parse import unquote

_TRACE = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z", re.DOTALL)
_KNOWN_FLAGS = 0x03  # sampled, and random


def passed_on(traceparent: bytes, span: bytes) -> bytes | None:
    """The trace context of an answer: the same trace and flags, and this server's `span` (16 hex digits); None if it is invalid.

    A later version of the format is read as version 00, and answered as such.

    >>> passed_on(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"53995c3f42cd8ad8")
    b'00-4bf92f3577b34da6a3ce929d0e0e4736-53995c3f42cd8ad8-01'
    """
    found = _TRACE.match(traceparent)
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    return b"00-%s-%s-%02x" % (trace, span, int(flags, 16) & _KNOWN_FLAGS)


def pattern(parts: Sequence[str], pipelines: Collection[str]) -> str:
    """A path without what somebody asked about.

    >>> pattern(["v1", "pipelines", "cards", "features", "card", "4000"], ["cards"]), pattern(["wp-login.php"], ["cards"])
    ('/v1/pipelines/cards/features/{view}/{entity}', '/{unknown}')
    """
    match [unquote(one) for one in parts]:
        case ["v1", "pipelines"] | ["openapi.json" | "docs" | "metrics" | "healthz" | "readyz" | "v2"]:
            return "/" + "/".join(parts)
        case ["v1", "pipelines", asked] if asked.partition(":")[0] in pipelines:
            name, _, verb = asked.partition(":")
            return f"/v1/pipelines/{name}" + (f":{verb}" if verb in ("predict", "explain") else "")
        case ["v1", "pipelines", name, "features", _, _] if name in pipelines:
            return f"/v1/pipelines/{name}/features/{{view}}/{{entity}}"
        case ["v2", "health", "live" | "ready" as what]:
            return f"/v2/health/{what}"
        case ["v2", "models", name, *rest] if name in pipelines:
            if len(rest) >= 2 and rest[0] == "versions":
                rest = ["versions", "{version}", *rest[2:]]
            if rest[-1:] in ([], ["infer"], ["ready"], ["{version}"]) and len(rest) <= 3:
                return "/".join(["/v2/models", name, *rest])
    return "/{unknown}"
