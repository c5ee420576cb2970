"""Views that raise on events of the test's choice, whichever engine runs and whoever steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock.features.engine.compute import CompiledView
from penstock.stream.featurize.step import TIE_BITS

On = Callable[[Mapping[str, Any], int], bool]


def raising(on: On, error: Exception, *, after: bool = False) -> Callable[..., None]:
    """To be put in the place of `CompiledView.__init__`.

    Views then raise where `on(event, offset)` says so: before they fold the event in, or after.
    """
    init = CompiledView.__init__

    def provoked(update: Callable[..., Any]) -> Callable[..., Any]:
        def one(state: Any, at: int, tie: int, event: Mapping[str, Any]) -> Any:
            told = on(event, tie & ((1 << TIE_BITS) - 1))
            if told and not after:
                raise error
            found = update(state, at, tie, event)
            if told:
                raise error
            return found

        return one

    def made(self: CompiledView, *given: Any) -> None:
        init(self, *given)
        self.update, self.update_own = provoked(self.update), provoked(self.update_own)

    return made
