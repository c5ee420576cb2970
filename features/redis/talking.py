"""Sending packed commands over one connection of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis


def talk(pool: Any, commands: Sequence[bytes]) -> list[Any]:
    """Send commands in one go and give their answers; one that the server refused is its error.

    The client's pipeline does the same, but packs every argument by itself, which costs more than all else here. Whatever
    fails, the connection is closed: an answer that comes later belongs to nobody.
    """
    connection = pool.get_connection()
    replies: list[Any] = []
    try:
        connection.send_packed_command(commands)
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except redis.ResponseError as refused:
                replies.append(refused)
    finally:
        if len(replies) < len(commands):
            connection.disconnect()
        pool.release(connection)
    return replies
