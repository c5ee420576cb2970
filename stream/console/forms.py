"""What a form posts: the fields of a request's body."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from starlette.requests import Request

MOST_BYTES = 16_384
BODY_S = 10.0
MOST_FIELDS = 32


class BadForm(ValueError):
    """What was posted is no form of ours; `status` says in which way."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


async def form_of(request: Request) -> dict[str, str]:
    """The fields by name, of two with the same name the last. Raises `BadForm`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadForm(415, "this address takes forms, as a page of the console sends them")
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MOST_BYTES:
                    raise BadForm(413, f"the form has more than {MOST_BYTES:,} bytes: say it shorter")
    except TimeoutError:
        raise BadForm(408, f"the form did not come within {BODY_S:g} s: send it again") from None
    try:
        fields = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise BadForm(400, "the form cannot be read: it must be UTF-8 and have few fields") from None
    return dict(fields)
