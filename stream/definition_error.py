"""The one error of a definition that cannot run."""

from __future__ import annotations

from penstock.features.define.durations import milliseconds


class DefinitionError(ValueError):
    """A definition that cannot run; the message says what, where and what would do."""


def duration_ms(text: str, where: str) -> int:
    """A duration as people write it, in ms. Raises `DefinitionError`, which names the place."""
    try:
        return milliseconds(text)
    except ValueError as error:
        raise DefinitionError(f"{where}: {error}") from None
