"""Sending packed commands over connections of pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis


def talk(pool: Any, commands: Sequence[bytes]) -> list[Any]:
    """Send commands in one go and give their answers; one that the server refused is its error.

    The client's pipeline does the same, but packs every argument by itself, which costs more than all else here. Whatever
    fails, the connection is closed: an answer that comes later belongs to nobody.
    """
    return talk_to_all([(pool, commands)])[0]


def talk_to_all(asked: Sequence[tuple[Any, Sequence[bytes]]]) -> list[list[Any]]:
    """The same with several servers at once: all are asked before the first is heard."""
    taken: list[tuple[Any, Any]] = []
    answers: list[list[Any]] = [[] for _ in asked]
    try:
        for pool, commands in asked:
            connection = pool.get_connection()
            taken.append((pool, connection))
            connection.send_packed_command(commands)
        for (_, connection), (_, commands), replies in zip(taken, asked, answers, strict=True):
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as refused:
                    replies.append(refused)
    finally:
        for (pool, connection), (_, commands), replies in zip(taken, asked, answers, strict=False):
            if len(replies) < len(commands):
                connection.disconnect()
            pool.release(connection)
    return answers
