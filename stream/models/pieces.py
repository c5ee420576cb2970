"""Cuts payloads into pieces that are named by what they hold, so that what is stored already is not written again.

Laws of this file:
- Joining the pieces of a payload in order gives the payload back. A piece's name is the digest of its bytes, so bytes that
  changed on the way no longer fit their name.
- Cuts are where the count says. Cuts that follow the content were tried: ten labels after, no piece of a forest was the same.
"""

from __future__ import annotations

import hashlib

PIECE_BYTES = 96 * 1024  # below what one unit of work may hold


def name_of(piece: bytes) -> str:
    """The name of a piece: forty hex digits over its bytes."""
    return hashlib.blake2b(piece, digest_size=20).hexdigest()


def cut(payload: bytes) -> list[bytes]:
    """The pieces of a payload, each of at most `PIECE_BYTES`; none for an empty one."""
    return [payload[start : start + PIECE_BYTES] for start in range(0, len(payload), PIECE_BYTES)]
