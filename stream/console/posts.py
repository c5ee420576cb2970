"""What is posted → a request on `control.commands`, once, and the address that shows what becomes of it.

Laws of this file:
- The same confirmation makes the same request id, however often it is sent; it is sent on once by this process, and not at all if
  the topic has it already. Should two consoles send it both, the control role decides on it once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.responses import RedirectResponse, Response

from penstock.stream.console.page import Asked, Page, Refused
from penstock.stream.console.reading.shared import Reading
from penstock.stream.messages import OperatorRequest

MOST_KNOWN = 10_000


class CannotAsk(RuntimeError):
    """The request was not sent, or nobody knows whether it was; the message says which, why, and what to do."""


class Posts:
    """Sends what is asked for by `ask` (None: nothing can be asked for here)."""

    def __init__(
        self, reading: Reading, ask: Callable[[OperatorRequest], None] | None, sources: Any = None
    ) -> None:
        self.reading, self.ask, self.sources = reading, ask, sources
        self._sent: OrderedDict[str, str] = OrderedDict()
        self._lock, self._doing = threading.Lock(), threading.Lock()

    def answer(self, page: Page, asked: Asked) -> Response:
        """Take what was posted to a page. Raises `Refused`, `NotFound` and `CannotAsk`."""
        if (page.posts is None and page.does is None) or self.ask is None:
            raise Refused(405, "nothing can be asked for here: this console was started only to look")
        # What was asked may be carried out when the same confirmation comes again, and then could not be asked for any more.
        same = repr((asked.here, asked.person.name, sorted(asked.query.items())))
        # What is done may take long, and holds up no request.
        with self._lock if page.does is None else self._doing:
            to = self._sent.get(same)
            if to is None:
                to = page.does(asked, self.sources) if page.does else self._send(page, asked, self.ask)
                self._sent[same] = to
                while len(self._sent) > MOST_KNOWN:
                    self._sent.popitem(last=False)
        return RedirectResponse(to, 303)

    def _send(self, page: Page, asked: Asked, ask: Callable[[OperatorRequest], None]) -> str:
        if page.posts is None:
            raise TypeError(f"{page.name} takes no posts")
        with self.reading.lock:
            asking = page.posts(asked)
            known = {getattr(told.message, "id", "") for told in asked.state.requests}
        if asking.request.id not in known and asking.request.id not in self._sent:
            ask(asking.request)
            self._sent[asking.request.id] = asking.to
        return asking.to
