"""The stored snapshot of a pipeline's fold: a signed list of pieces, and the pieces.

Laws of this file:
- New pieces are written first, then the list in one unit of work, then pieces nothing names any more are deleted. Whoever is
  killed anywhere leaves a whole snapshot behind: the former one, or the new one.
- A piece is written once, whoever names it: what did not change since the last snapshot is not written again.
- The list is signed and names pieces by their digests, so nothing is unpickled that its writer did not sign.
- Every piece that may lie in the store is in the index before it is written: what a killed worker left is deleted by the next.
  That a piece is in the index does not say that it was written: only one that was read, or written by this worker, is present.
"""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from penstock.features.redis.keys import model_key, snapshot_key, states_prefix
from penstock.features.redis.store import StateStore, Unit, Write
from penstock.stream.learn.snapshot import SnapshotHeader, Taken
from penstock.stream.models.pieces import cut, name_of
from penstock.stream.models.version import BadEnvelope, Secret, seal, unseal

MOST_DELETED = 200  # keys in one unit of work
READS = 3


class StoredSnapshot:
    """Writes and reads one pipeline's snapshot through the state store of its learn task.

    `key` is where the list is kept, `named` what the names of its pieces begin with: other snapshots of the task have others.
    `written_bytes` counts what was sent, for whoever wants to know. Who only reads needs a store that can `load`.
    """

    def __init__(
        self, store: StateStore, pipeline: str, secret: Secret, *, key: str = "", named: str = "piece"
    ) -> None:
        self.store, self.secret = store, secret
        self.key, self.document_key = key or snapshot_key(pipeline), model_key(pipeline)
        # Under the task's own states, so that clearing the task clears them.
        self.prefix = f"{states_prefix(pipeline, 'learn')}{named}:"
        self.index_key = f"{states_prefix(pipeline, 'learn')}{named}s"
        self.listed: set[str] = set()
        self.present: set[str] = set()
        self.cut: dict[str, tuple[bytes, list[str]]] = {}
        self.written_bytes = 0

    def load(self) -> Taken | None:
        """The snapshot, verified and whole; None when there is none. Raises `BadEnvelope`.

        Also finds out which pieces lie there: the owner of the task calls this before its first `save`.
        """
        index, sealed = self.store.load([self.index_key, self.key])
        self.cut.clear()
        self.listed, self.present = set(_decoded(index)), set()
        for _ in range(READS):
            if sealed is None:
                return None
            header = unseal(sealed, self.secret, SnapshotHeader)[0]
            names = list(dict.fromkeys(name for pieces in header.parts.values() for name in pieces))
            found = dict(zip(names, self.store.load([self.prefix + name for name in names]), strict=True))
            bad = [name for name, piece in found.items() if piece is None or name_of(piece) != name]
            self.listed.update(names)
            self.present = set(names).difference(bad)
            if not bad:
                parts = {
                    part: b"".join(found[name] or b"" for name in pieces)
                    for part, pieces in header.parts.items()
                }
                return Taken(header, parts)
            before, sealed = sealed, self.store.load([self.key])[0]
            if sealed == before:  # not somebody's newer one
                raise BadEnvelope(f"{len(bad)} of the snapshot's {len(names)} pieces are gone or changed")
        raise BadEnvelope("the snapshot was replaced each time it was read")

    def save(self, base: bytes, taken: Taken, document: bytes) -> bytes:
        """Replace the snapshot and the public document in units of work from the position `base`; the position after them.

        An empty document leaves the public one as it is.
        """
        parts, fresh = self._cut(taken)
        sealed = seal(msgspec.structs.replace(taken.header, parts=parts), b"", self.secret)
        # Every attempt has positions of its own: one that was cut off must not pass for this one.
        end = f"{taken.header.position}:{hashlib.sha256(sealed).hexdigest()[:16]}:{secrets.token_hex(4)}"
        named = {name for pieces in parts.values() for name in pieces}
        index = sorted(self.listed | named)
        units = [[Write(self.index_key, _encoded(index), "", b"", 0)]] if fresh else []
        units += [[Write(self.prefix + name, piece, "", b"", 0)] for name, piece in fresh.items()]
        units.append([Write(self.key, sealed, self.document_key if document else "", document, 0)])
        unnamed = sorted(self.listed - named)
        for start in range(0, len(unnamed), MOST_DELETED):
            gone = unnamed[start : start + MOST_DELETED]
            units.append([Write(self.prefix + name, b"", "", b"", 0) for name in gone])
        if unnamed:
            units[-1].append(Write(self.index_key, _encoded(sorted(named)), "", b"", 0))
        positions = [base, *(f"{end}-{number}".encode() for number in range(len(units)))]
        self.store.save([Unit(positions[n], positions[n + 1], writes) for n, writes in enumerate(units)])
        self.listed, self.present = named, named
        self.written_bytes += sum(len(write.state) + len(write.document) for unit in units for write in unit)
        return positions[-1]

    def _cut(self, taken: Taken) -> tuple[dict[str, list[str]], dict[str, bytes]]:
        """The names of the pieces of every part, and the pieces that are not stored yet."""
        parts: dict[str, list[str]] = {}
        fresh: dict[str, bytes] = {}
        former, self.cut = self.cut, {}
        for part, payload in taken.parts.items():
            known = former.get(part)
            if known is not None and known[0] is payload and self.present.issuperset(known[1]):
                parts[part] = known[1]
            else:
                pieces = [(name_of(piece), piece) for piece in cut(payload)]
                parts[part] = [name for name, _ in pieces]
                fresh.update((name, piece) for name, piece in pieces if name not in self.present)
            self.cut[part] = (payload, parts[part])
        return parts, fresh


def _encoded(index: list[str]) -> bytes:
    return msgspec.msgpack.encode(index)


def _decoded(index: bytes | None) -> list[str]:
    """The names in an index; none in one that somebody else wrote: pieces are then written again."""
    try:
        return [] if index is None else msgspec.msgpack.decode(index, type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
