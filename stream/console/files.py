"""The style sheet, the script and the charts' library: read once, compressed once, under addresses that name their content.

Laws of this file:
- These files are all that a page loads, and lie in `static/`; there is no build step. Together at most `MOST_BYTES` compressed.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

STATIC = Path(__file__).parent / "static"
MOST_BYTES = 60_000
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class StaticFile(NamedTuple):
    """One file: its type, its bytes plain and compressed, and the mark of its content."""

    kind: str
    plain: bytes
    packed: bytes
    mark: str


def read() -> dict[str, StaticFile]:
    """Every file by its name."""
    found = {}
    for path in sorted(STATIC.iterdir()):
        plain = path.read_bytes()
        mark = hashlib.sha256(plain).hexdigest()[:12]
        found[path.name] = StaticFile(KINDS[path.suffix], plain, gzip.compress(plain, 9, mtime=0), mark)
    return found
