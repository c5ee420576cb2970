"""What a task asks of the store that keeps its state: units of work, the protocol, and what can go wrong.

Laws that every store keeps (one contract suite checks them all):
- A unit is all or nothing: its writes and its new position become visible together or not at all.
- A unit is applied only by the task's owner, only onto its base position, and at most once: saying it again
  is success. So a caller that lost a reply repeats itself, and a stalled former owner can change nothing.
- Losing data is an error, never an empty answer: a store that forgot the owner, its generation or its
  position, or that went back to an older position, raises `StateLost`.
- Writes are values, not increments.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

# A server runs a unit without interruption, so its size bounds what readers wait: below 1 ms for 250 keys.
UNIT_KEYS = 250
UNIT_BYTES = 128 * 1024
KEEP_TTL = -1


class Write(NamedTuple):
    """One entity's new state and public document.

    Attributes:
        state_key: private key, from `keys.state_key`.
        state: encoded state; `b""` deletes it.
        public_key: public key, from `keys.public_key`; `""` leaves the public side alone.
        document: public JSON; `b""` deletes it.
        ttl_ms: how long the public document lives; 0 is for ever. `KEEP_TTL` replaces one that is there, for as
            long as it would have lived, and leaves one alone that expired meanwhile. The state has no TTL.

    """

    state_key: str
    state: bytes
    public_key: str
    document: bytes
    ttl_ms: int


class Unit(NamedTuple):
    """Writes that become visible together with a new position.

    Attributes:
        base: the position that the writes were computed from, exactly as stored.
        new: the position after them; canonical. Equal to `base` only without writes: a check of ownership.
        writes: at most about `UNIT_KEYS` keys and `UNIT_BYTES` bytes; the caller splits.

    """

    base: bytes
    new: bytes
    writes: Sequence[Write]


class Fenced(Exception):
    """Another worker owns this task now: stop writing, drop what is in memory and wait for an assignment."""


class StateLost(Exception):
    """The store no longer has what it acknowledged: acquire again and rebuild from the topics."""


class StoreUnavailable(Exception):
    """The store cannot be used, and waiting a little did not help.

    Attributes:
        what: what went wrong.
        where: the address, without secrets.
        todo: what to do about it.

    """

    def __init__(self, what: str, where: str, todo: str) -> None:
        """Make the message of all three."""
        super().__init__(f"{what} ({where}): {todo}")
        self.what = what
        self.where = where
        self.todo = todo


class StoreRefused(Exception):
    """The server knows no such user, or the user may not do this: waiting does not help, so the process should end.

    Attributes:
        what: what was refused, in the server's words.
        where: the address, without secrets.
        todo: what to do about it.

    """

    def __init__(self, what: str, where: str, todo: str) -> None:
        """Make the message of all three."""
        super().__init__(f"{what} ({where}): {todo}")
        self.what = what
        self.where = where
        self.todo = todo


class StateStore(Protocol):
    """The state and the position of one task. Owned by one worker at a time, used from one thread at a time.

    But `load` and `alive` may be called while another thread is in a `save`: `alive` then takes every position between the
    first and the last of its units for what this store last saw.
    """

    def acquire(self) -> bytes | None:
        """Take ownership and give the stored position; None if nothing was ever stored.

        Whoever owned the task is fenced from here on. `StateLost` means that only half of the bookkeeping
        is there; ownership is taken even then, so that `clear` and `start` can follow.
        """

    def start(self, position: bytes) -> None:
        """Store the first position of a task that has none, after clearing what an earlier life left.

        Starting twice at the same position is success. Raises `Fenced`, or `StateLost` if there is
        another position already.
        """

    def load(self, state_keys: Sequence[str]) -> list[bytes | None]:
        """Read states, in the order of the keys; None where there is none."""

    def save(self, units: Sequence[Unit]) -> None:
        """Apply units in order; each starts at the position where the one before it ends.

        Raises `Fenced`, `StateLost`, `StoreRefused` or `StoreUnavailable`. After `StoreUnavailable` any first part of
        the units may be applied, and saying the same units again finishes the rest.
        """

    def alive(self) -> None:
        """Check that owner, generation and position are what this store last saw."""

    def clear(self) -> int:
        """Delete the task's state, position and generation; give the number of states deleted.

        Public documents stay until their TTL or the next write. Raises `Fenced`.
        """


def check_units(units: Iterable[Unit]) -> None:
    """Refuse units that could not be applied at most once.

    Raises:
        ValueError: if a unit writes without moving the position, does not start where the one before it ends,
            or has a negative TTL other than `KEEP_TTL`.

    """
    end: bytes | None = None
    for number, unit in enumerate(units):
        if unit.base == unit.new and unit.writes:
            raise ValueError(f"unit {number} writes but ends at its base: it would be taken for a repetition")
        if end is not None and unit.base != end:
            raise ValueError(f"unit {number} does not start where unit {number - 1} ends")
        if any(write.ttl_ms < KEEP_TTL for write in unit.writes):
            raise ValueError(f"unit {number} has a write with a negative ttl_ms")
        end = unit.new
