"""The binary extension of the Open Inference Protocol: columns behind the JSON, which Triton's clients send unless told not to.

Laws of this file:
- Only columns that say `binary_data_size` are read from there, in the order of the inputs; every byte belongs to one of them.
- Answers are JSON: the extension leaves that to the server.
"""

from __future__ import annotations

import struct
from typing import Any

FORMATS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_SIZE = struct.Struct("<I")


class BadBinary(ValueError):
    """The bytes are not what the request says; the message says which column."""


def column(name: str, datatype: str, data: bytes) -> list[Any]:
    r"""The values of one column, little-endian; of BYTES each with its length before it. Raises `BadBinary`.

    >>> column("a", "INT16", b"\x01\x00\xff\xff"), column("b", "BYTES", b"\x02\x00\x00\x00hi")
    ([1, -1], ['hi'])
    """
    if datatype == "BYTES":
        return _texts(name, data)
    if datatype not in FORMATS:
        raise BadBinary(f"input {name!r} has datatype {datatype!r}, which is none of the protocol's")
    size = struct.calcsize("<" + FORMATS[datatype])
    if len(data) % size:
        raise BadBinary(f"input {name!r} has {len(data)} bytes, which are no whole number of {datatype}")
    return list(struct.unpack(f"<{len(data) // size}{FORMATS[datatype]}", data))


def _texts(name: str, data: bytes) -> list[Any]:
    found, place = [], 0
    while place < len(data):
        if place + _SIZE.size > len(data):
            raise BadBinary(f"input {name!r} ends within the length of a text")
        (size,) = _SIZE.unpack_from(data, place)
        place += _SIZE.size
        if place + size > len(data):
            raise BadBinary(f"input {name!r} ends within a text")
        try:
            found.append(data[place : place + size].decode())
        except UnicodeDecodeError:
            raise BadBinary(f"input {name!r} holds text that is not UTF-8") from None
        place += size
    return found
