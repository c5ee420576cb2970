"""How many examples a law is tried on: all of them where changes are merged (`CI`), a third of them at the desk.

Hypothesis draws others every time, so that a day's runs at a desk see more than one run of CI does.
"""

from __future__ import annotations

import os

_SHARE = 1 if os.environ.get("CI") else 3
FEWEST = 50


def examples(number: int) -> int:
    """What is left of so many examples here; laws with few are tried on all of them."""
    return max(min(number, FEWEST), number // _SHARE)
