"""Text that others wrote, made safe to print.

Laws of this file:
- What comes out holds nothing that a terminal would obey: no control characters, no escapes, no marks that turn writing around.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""One line of text with everything else escaped, as Python would write it.

    >>> printable("\x1b[2Jall is well\r\n")
    '\\x1b[2Jall is well\\r\\n'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
