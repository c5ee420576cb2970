"""What a drift detector is here: anything with river's two names.

Laws of this file
- A detector is told numbers one by one, and says after each whether it is an alarm. It can be copied and
  pickled, and a copy goes on as the original would.
- A detector's text is the same in every process that makes it in the same way.
"""

from __future__ import annotations

import re
from typing import Any, Protocol, runtime_checkable

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@runtime_checkable
class DriftDetector(Protocol):
    """As river's `base.DriftDetector` has it.

    Where it has the attributes `statistic` and `threshold` as well, they are told with an alarm.
    """

    @property
    def drift_detected(self) -> bool:
        """Whether the last update was an alarm."""

    def update(self, x: float) -> Any:
        """Take one finite number; what it returns is not looked at."""


def parameters(detector: Any) -> dict[str, Any]:
    """What a detector was made with, as plain values: river's own account of it, else its public attributes.

    >>> from river.drift import PageHinkley
    >>> parameters(PageHinkley(threshold=9.0))["threshold"]
    9.0
    """
    account = getattr(detector, "_get_params", None)
    found = account() if callable(account) else getattr(detector, "__dict__", {})
    plain = (bool, int, float, str)
    return {name: one for name, one in found.items() if name[:1] != "_" and type(one) in plain}


def text(detector: Any) -> str:
    """The detector in words that do not change from process to process."""
    kind = type(detector)
    written = "__repr__" in {name for one in kind.__mro__[:-1] for name in vars(one)}
    found = repr(detector) if written else repr(vars(detector))
    return f"{kind.__qualname__} {_ADDRESS.sub('', found)}"
