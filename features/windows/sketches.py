"""What a tile remembers of values that one number cannot hold: distinct values, quantiles, frequent values.

Laws that hold in this file:
- Everything is deterministic: no random numbers, no hash seed, no history. `add_distinct` and `add_bucket` give
  a state that is a function of the *set* (multiset) of values alone, whatever their order and however they were
  merged; that is why HyperLogLog's registers and the logarithmic buckets stand here, in a few lines each, and not
  behind a library: DataSketches' HLL keeps a history (HIP), t-digests depend on the order, KLL and REQ draw random
  numbers. `add_count` is so up to its capacity.
- None is empty. `add_…` may change its first argument and gives it back; `merge_…` never changes either.
- Sizes are bounded by constants, whatever the number of values.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from struct import pack

import numpy as np

Scalar = str | float | bool
Distinct = set[int] | bytearray | None
Buckets = dict[int, int] | None
Counts = dict[Scalar, int] | None

DISTINCT_EXACT = 256  # distinct values counted exactly; beyond, HyperLogLog
_P = 11  # 2,048 registers: standard error 1.04 / sqrt(2048) = 2.3 %
_M = 1 << _P
_Q = 64 - _P

QUANTILE_ERROR = 0.01  # a quantile's relative error
_GAMMA = (1 + QUANTILE_ERROR) / (1 - QUANTILE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
# smaller magnitudes count as 0, greater ones as this: 2,418 buckets a sign
QUANTILE_LEAST, QUANTILE_MOST = (1e-9, 1e12)
_MOST_BUCKETS = math.ceil(math.log(QUANTILE_MOST) / _LOG_GAMMA)
# bucket 0 is zero; a positive value's bucket lies around +_SIGN, a negative one's around -_SIGN
_SIGN = 1 << 20


@lru_cache(maxsize=1 << 16)
def value_hash(value: Scalar) -> int:
    """Hash a value to 64 bits, the same everywhere and always; numbers by value, so that 1, 1.0 and True are one."""
    data = (
        value.encode("utf-8", "surrogatepass")
        if isinstance(value, str)
        else pack("<bd", 0, float(value) + 0.0)
    )
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def add_distinct(seen: Distinct, value: Scalar) -> Distinct:
    """Count one value among the distinct ones."""
    hashed = value_hash(value)
    if seen is None:
        return {hashed}
    if isinstance(seen, bytearray):
        _register(seen, hashed)
        return seen
    seen.add(hashed)
    return seen if len(seen) <= DISTINCT_EXACT else _registers(seen)


def merge_distinct(a: Distinct, b: Distinct) -> Distinct:
    """Give the union."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, set) and isinstance(b, set):
        union = a | b
        return union if len(union) <= DISTINCT_EXACT else _registers(union)
    if isinstance(a, set):
        a, b = b, a
    assert isinstance(a, bytearray)
    if isinstance(b, bytearray):
        return bytearray(np.maximum(np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8)).tobytes())
    both = a.copy()
    for hashed in b:
        _register(both, hashed)
    return both


def distinct_size(a: Distinct, b: Distinct = None) -> float:
    """Give the number of distinct values of the union, exact up to `DISTINCT_EXACT`."""
    if isinstance(a, set) and isinstance(b, set):
        n = len(a) + len(b) - len(a & b)
        if n <= DISTINCT_EXACT:
            return float(n)
    both = merge_distinct(a, b)
    return float(len(both)) if isinstance(both, set) else _estimate(both) if both else 0.0


def _registers(hashes: Iterable[int]) -> bytearray:
    registers = bytearray(_M)
    for hashed in hashes:
        _register(registers, hashed)
    return registers


def _register(registers: bytearray, hashed: int) -> None:
    """Note the rank of one hash: the place of the first 1 among its last 64 - P bits."""
    rest = hashed & ((1 << _Q) - 1)
    rank = _Q + 1 - rest.bit_length()
    place = hashed >> _Q
    if rank > registers[place]:
        registers[place] = rank


def _estimate(registers: bytearray) -> float:
    """Ertl's improved raw estimator (arXiv:1702.01284, algorithm 6): unbiased without tables, for any size."""
    counts = np.bincount(np.frombuffer(registers, np.uint8), minlength=_Q + 2).tolist()
    z = _M * _tau(1 - counts[_Q + 1] / _M)
    for rank in range(_Q, 0, -1):
        z = 0.5 * (z + counts[rank])
    z += _M * _sigma(counts[0] / _M)
    return _M * _M / (2 * math.log(2) * z)


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3


def add_bucket(buckets: Buckets, value: float) -> Buckets:
    """Count one value in its logarithmic bucket (DDSketch: Masson, Rim and Lee, VLDB 2019)."""
    size = abs(value)
    if size < QUANTILE_LEAST:
        bucket = 0
    else:
        bucket = _SIGN + math.ceil(math.log(min(size, QUANTILE_MOST)) / _LOG_GAMMA)
        if value < 0:
            bucket = -bucket
    if buckets is None:
        return {bucket: 1}
    buckets[bucket] = buckets.get(bucket, 0) + 1
    return buckets


def is_bucket(number: object) -> bool:
    """Say whether `add_bucket` could have made this bucket; stored bytes may say anything."""
    return type(number) is int and (number == 0 or abs(abs(number) - _SIGN) <= _MOST_BUCKETS)


def merge_buckets(a: Buckets, b: Buckets) -> Buckets:
    """Add two counts."""
    if a is None or b is None:
        return b if a is None else a
    if len(a) < len(b):
        a, b = b, a
    both = a.copy()
    for bucket, n in b.items():
        both[bucket] = both.get(bucket, 0) + n
    return both


def quantile_of(buckets: Buckets, q: float) -> float | None:
    """Give the value of rank `floor(q * (n - 1))`, within `QUANTILE_ERROR` of it; None if empty."""
    if buckets is None:
        return None
    rank = q * (sum(buckets.values()) - 1)
    passed = 0
    for bucket in sorted(buckets):
        passed += buckets[bucket]
        if passed > rank:
            break
    if bucket == 0:
        return 0.0
    size = 2 * math.exp((abs(bucket) - _SIGN) * _LOG_GAMMA) / (_GAMMA + 1)
    return size if bucket > 0 else -size


def add_count(counts: Counts, value: Scalar, capacity: int) -> Counts:
    """Count one value among at most `capacity` candidates (Misra and Gries 1982)."""
    if not isinstance(value, str):
        value = float(value) + 0.0
    if counts is None:
        return {value: 1}
    counts[value] = counts.get(value, 0) + 1
    return counts if len(counts) <= capacity else _reduced(counts, capacity)


def merge_counts(a: Counts, b: Counts, capacity: int) -> Counts:
    """Add two counts; the error bounds add up, too (Agarwal and others, Mergeable Summaries, PODS 2012)."""
    if a is None or b is None:
        return b if a is None else a
    both = a.copy()
    for value, n in b.items():
        both[value] = both.get(value, 0) + n
    return both if len(both) <= capacity else _reduced(both, capacity)


def _reduced(counts: dict[Scalar, int], capacity: int) -> dict[Scalar, int]:
    """Take the greatest count that does not fit off every one: an error of at most n / capacity."""
    least = sorted(counts.values(), reverse=True)[capacity]
    return {value: n - least for value, n in counts.items() if n > least}


def most_frequent(counts: Counts, k: int) -> list[list[Scalar | int]] | None:
    """Give the `k` most frequent values as `[value, count]`; equal counts by value, numbers before text."""
    if counts is None:
        return None
    ranked = sorted(counts.items(), key=lambda item: (-item[1], isinstance(item[0], str), item[0]))
    return [[value, n] for value, n in ranked[:k]]
