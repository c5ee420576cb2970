"""Batches as kafka-python keeps them, read to their end whatever a producer put into them.

kafka-python and aiokafka decode the names of headers as UTF-8, which Kafka does not ask for, and unpack a whole batch at once.
Where either fails they stop at that batch for good: Faust ends its app, at every start again, and kafka-python's `poll` may turn
without end. So whoever may write one record could stop every reader of its topic. Neither can be told to go on. To seek past it
would not do either: their errors name no offset, and aiokafka drops the good records that stand before the bad one. So batches
are read here, for both: their fetchers ask nothing of a batch that kafka-python's has not.

Laws of this file:
- A record with a header whose name is no UTF-8 is read without any of its headers, as `KafkaReader` does.
- A batch that cannot be unpacked, or not to its end, gives one record at its last offset in place of what is missing; its value
  is `Packed` bytes that say why. So whoever reads the topic tells of it as of any record that is none, and goes on behind it.
- Nothing is unpacked to more than `MOST_UNPACKED_BYTES` by gzip, the only packing that these clients know without more libraries.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import KafkaError
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import decode_varint

from penstock.stream.log.protocol import Packed

MOST_UNPACKED_BYTES = 64 << 20
_PACKINGS = ("none", "gzip", "snappy", "lz4", "zstd")
_FAILS = (
    KafkaError,
    ValueError,
    IndexError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    zlib.error,
)


class Batch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch that gives every record that can be read, and raises nothing."""

    _buffer: bytearray
    _pos: int
    _decompressed: bool

    def __iter__(self) -> Iterator[Any]:
        try:
            self._maybe_uncompress()
            while self._next_record_index < self.records_count:
                record = self._read_msg()
                self._next_record_index += 1
                yield record
        except _FAILS as error:
            missing = self.records_count - self._next_record_index
            packing = _PACKINGS[self.compression_type] if self.compression_type < len(_PACKINGS) else "?"
            why = (
                f"{missing} record{'s' * (missing != 1)} up to offset {self.last_offset}, packed with {packing}, cannot be "
                f"unpacked here: {error}"
            )
            stamp_ms, kind = self.max_timestamp, self.timestamp_type
            yield DefaultRecord(0, self.last_offset, stamp_ms, kind, None, Packed(why.encode()), [])

    def _maybe_uncompress(self) -> None:
        if self.compression_type == self.CODEC_GZIP and not self._decompressed:
            unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            found = unpacking.decompress(memoryview(self._buffer)[self._pos :], MOST_UNPACKED_BYTES)
            if not unpacking.eof:
                raise ValueError(f"it ends early, or unpacks to more than {MOST_UNPACKED_BYTES >> 20} MB")
            self._buffer, self._pos, self._decompressed = bytearray(found), 0, True
        super()._maybe_uncompress()

    def _read_msg(self, *_: Any) -> Any:
        start = self._pos
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            return self._without_headers(start)

    def _without_headers(self, at: int) -> DefaultRecord:
        buffer = self._buffer
        length, at = decode_varint(buffer, at)
        end = at + length
        _, at = decode_varint(buffer, at)  # attributes, of which there are none yet
        after_ms, at = decode_varint(buffer, at)
        after, at = decode_varint(buffer, at)
        key, at = _bytes(buffer, at)
        value, at = _bytes(buffer, at)
        self._pos = end
        kind = self.timestamp_type
        stamp_ms = self.max_timestamp if kind == self.LOG_APPEND_TIME else self.first_timestamp + after_ms
        return DefaultRecord(length, self.base_offset + after, stamp_ms, kind, key, value, [])


def _bytes(buffer: bytearray, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(buffer, at)
    return (bytes(buffer[at : at + length]), at + length) if length >= 0 else (None, at)


class Batches(MemoryRecords):  # type: ignore[misc]
    """What was fetched of a partition."""

    __slots__ = ()

    def next_batch(self, *_: Any) -> Any:
        """The next batch, or None."""
        fetched = self._next_slice
        batch = super().next_batch()
        return Batch(fetched) if isinstance(batch, DefaultRecordBatch) else batch


class Partition(Fetcher.PartitionRecords):  # type: ignore[misc]
    """Takes the place of `PartitionRecords` in a consumer of kafka-python."""

    def _unpack_records(self, tp: Any, records: MemoryRecords, *deserializers: Any) -> Iterator[Any]:
        found: Iterator[Any] = super()._unpack_records(tp, Batches(records._buffer), *deserializers)
        return found
