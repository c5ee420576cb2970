"""Which partition Kafka's default partitioner gives a key, and so which task of a pipeline keeps an entity."""

from __future__ import annotations

from functools import lru_cache


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit MurmurHash2 (`org.apache.kafka.common.utils.Utils.murmur2`), as an unsigned number.

    >>> murmur2(b"21")
    3321034988
    """
    m, mask, length = 0x5BD1E995, 0xFFFFFFFF, len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if whole != length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


@lru_cache(maxsize=65_536)
def partition_for(key: bytes, partitions: int) -> int:
    """The partition Kafka's default partitioner gives a key, out of `partitions`.

    >>> partition_for(b"N14228", 12)
    8
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions
