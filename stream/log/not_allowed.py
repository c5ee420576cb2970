"""The error that no waiting mends."""

from __future__ import annotations

from penstock.stream.log.protocol import LogError


class NotAllowed(LogError):
    """The broker does not know this user, or the user lacks a right: a role ends, whatever it does about other errors."""
