"""How deeply JSON may be nested: a bound of our own, so that the same bytes are read or refused wherever they are read.

Laws of this file:
- Python's decoders give up at a depth that depends on how deep their caller is. Ours is well below it.
- Pure, and linear in the bytes.
"""

from __future__ import annotations

import re

MOST_NESTED = 400
TOO_DEEP = f"nested more than {MOST_NESTED} deep"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


def too_deep(value: bytes) -> bool:
    """Whether JSON is nested more than `MOST_NESTED` deep.

    >>> too_deep(b'{"a": [1, "[[["]}'), too_deep(b"[" * 401 + b"]" * 401)
    (False, True)
    """
    if value.count(b"[") + value.count(b"{") <= MOST_NESTED:
        return False
    depth = 0
    for token in _TOKEN.finditer(value):
        first = token[0][0]
        if first in b"[{":
            depth += 1
            if depth > MOST_NESTED:
                return True
        elif first != 0x22:
            depth -= 1
    return False
