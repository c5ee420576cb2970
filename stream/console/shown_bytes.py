"""Bytes that anybody may have sent, as people can look at them.

Laws of this file:
- Pure. What is UTF-8 is text, with what cannot be seen escaped; all else is hexadecimal. Nothing of it is ever more than text.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.stream.process.terminal import printable

MOST_CHARACTERS = 20_000
MOST_HEX_BYTES = 2_048
ROW = 16


class Shown(NamedTuple):
    """Bytes to look at: `kind` is text, hex or null, `size` all there are, `cut` whether not all are shown."""

    kind: str
    text: str
    size: int
    cut: bool


def shown(value: bytes | None, most: int = MOST_CHARACTERS, most_hex: int = MOST_HEX_BYTES) -> Shown:
    r"""Bytes as text or as hexadecimal.

    >>> shown(b"a\x1b[2J").text, shown(b"\xff\x00").text
    ('a\\x1b[2J', '00000000  ff 00                                            ..')
    """
    if value is None:
        return Shown("null", "null", 0, False)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return Shown("hex", _dump(value[:most_hex]), len(value), len(value) > most_hex)
    lines = "\n".join(
        "\t".join(printable(part) for part in line.split("\t")) for line in text[:most].split("\n")
    )
    return Shown("text", lines, len(value), len(text) > most)


def _dump(value: bytes) -> str:
    rows = []
    for at in range(0, len(value), ROW):
        row = value[at : at + ROW]
        seen = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        rows.append(f"{at:08x}  {row.hex(' '):<{3 * ROW - 1}}  {seen}")
    return "\n".join(rows)
