"""Digests of live objects that mean something: equal state gives equal digests, across restarts and processes.

Laws of this file:
- The walk follows structure, not pickle bytes: pickle's memo changes with identity, so the bytes of a restored model differ
  from those of the model it was made from, though every prediction is the same.
- Sets are sorted, mappings keep their order (river's own order decides ties), floats count by their bits.
- Random generators and compiled plans are left out: they are unused or rebuilt.
"""

from __future__ import annotations

import copyreg
import hashlib
import random
import struct
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

_LEFT_OUT = (random.Random, np.random.Generator, np.random.RandomState)
_PLANS = frozenset({"_plan", "_method_params", "_last_step_params"})


def digest(value: Any) -> str:
    """Sixteen hex digits over the structure of `value` (a river model, a monitor, plain data)."""
    walk = _Walk()
    walk.visit(value)
    return walk.hash.hexdigest()


class _Walk:
    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=8)
        self.open: set[int] = set()

    def put(self, kind: str, payload: bytes = b"") -> None:
        self.hash.update(kind.encode() + struct.pack("<I", len(payload)) + payload)

    def visit(self, value: Any) -> None:
        if value is None or isinstance(value, bool | int | str | bytes):
            self.put(type(value).__name__, value if isinstance(value, bytes) else repr(value).encode())
        elif isinstance(value, float):
            self.put("float", struct.pack("<d", value))
        elif isinstance(value, np.ndarray) and value.dtype.hasobject:
            self.put(f"array{value.shape}{value.dtype}")
            self.visit(value.ravel().tolist())  # its own bytes are addresses
        elif isinstance(value, np.ndarray):
            self.put(f"array{value.shape}{value.dtype}", np.ascontiguousarray(value).tobytes())
        elif isinstance(value, np.generic):
            self.put(f"numpy {value.dtype}", value.tobytes())
        elif isinstance(value, _LEFT_OUT):
            self.put("random")
        elif isinstance(value, type) or callable(value) and hasattr(value, "__qualname__"):
            self.put("name", f"{value.__module__}.{value.__qualname__}".encode())
        else:
            self.visit_container(value)

    def visit_container(self, value: Any) -> None:
        if id(value) in self.open:
            self.put("cycle")
            return
        self.open.add(id(value))
        if isinstance(value, dict):
            self.put(f"dict {type(value).__qualname__}", struct.pack("<q", len(value)))
            for key, item in value.items():
                self.visit(key)
                self.visit(item)
        elif isinstance(value, Set):
            self.put("set", struct.pack("<q", len(value)))
            for text in sorted(digest(item) for item in value):
                self.put("item", text.encode())
        elif isinstance(value, list | tuple):
            self.put(type(value).__name__, struct.pack("<q", len(value)))
            for item in value:
                self.visit(item)
        else:
            self.visit_object(value)
        self.open.discard(id(value))

    def visit_object(self, value: Any) -> None:
        """What pickle would save of the object, walked instead of written."""
        self.put("object", f"{type(value).__module__}.{type(value).__qualname__}".encode())
        reducer = copyreg.dispatch_table.get(type(value))
        reduced = reducer(value) if reducer else value.__reduce_ex__(2)
        if isinstance(reduced, str):
            self.put("global", reduced.encode())
            return
        _, arguments, *rest = reduced
        self.visit([item for item in arguments if not isinstance(item, type)])
        state = rest[0] if rest else None
        if isinstance(state, Mapping):
            state = {key: item for key, item in state.items() if key not in _PLANS}
        self.visit(state)
        for items in rest[1:3]:
            if items is not None:
                self.visit(list(items))
