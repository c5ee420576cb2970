# Distinct values: sorted hashes up to DISTINCT_EXACT, HyperLogLog registers beyond; the C form of `sketches`.
#
# Laws: a function of the set of hashes alone, and equal bit by bit to what `sketches` gives. A set is counted by its
# references and never changed while it has more than one.

cdef enum:
    EXACT = 256
    P = 11
    M = 2048
    Q = 53
    REGISTERS = -1  # in the place of `n`: the memory holds M registers of a byte

cdef struct Seen:
    int32_t refs
    int32_t n
    int32_t room
    int32_t unused
    uint64_t hashes[1]


cdef Seen *seen_new(int room) except NULL:
    """Make an empty set with room for so many hashes, or for the registers."""
    cdef Seen *seen = <Seen *>malloc(sizeof(Seen) + 8 * <size_t>max(room - 1, 0))
    if seen is NULL:
        raise MemoryError
    seen.refs, seen.n, seen.room, seen.unused = 1, 0, room, 0
    return seen


cdef Seen *seen_registers() except NULL:
    cdef Seen *seen = seen_new(M // 8)
    seen.n = REGISTERS
    memset(seen.hashes, 0, M)
    return seen


cdef void seen_release(Seen *seen) noexcept:
    if seen is not NULL:
        seen.refs -= 1
        if seen.refs == 0:
            free(seen)


cdef Seen *seen_own(Seen *seen) except NULL:
    """Give a set that nobody else refers to, in the place of this one."""
    cdef Seen *copy
    if seen.refs == 1:
        return seen
    copy = seen_new(M // 8 if seen.n < 0 else seen.n + 1)
    copy.n = seen.n
    memcpy(copy.hashes, seen.hashes, M if seen.n < 0 else 8 * <size_t>seen.n)
    seen.refs -= 1
    return copy


cdef void seen_register(Seen *seen, uint64_t hashed) noexcept:
    """Note the rank of one hash: the place of the first 1 among its last 64 - P bits."""
    cdef uint8_t *registers = <uint8_t *>seen.hashes
    cdef uint64_t rest = hashed & ((<uint64_t>1 << Q) - 1)
    cdef int rank = Q + 1
    while rest:
        rest >>= 1
        rank -= 1
    if rank > registers[hashed >> Q]:
        registers[hashed >> Q] = <uint8_t>rank


cdef int seen_find(Seen *seen, uint64_t hashed) noexcept:
    """Give the place of the first hash that is not less."""
    cdef int low = 0, high = seen.n, middle
    while low < high:
        middle = (low + high) >> 1
        if seen.hashes[middle] < hashed:
            low = middle + 1
        else:
            high = middle
    return low


cdef int seen_add(Seen **place, uint64_t hashed) except -1:
    """Add one hash to the set at this place, which may become another one."""
    cdef Seen *seen = place[0]
    cdef Seen *larger
    cdef int at, i
    if seen.n < 0:
        seen = place[0] = seen_own(seen)
        seen_register(seen, hashed)
        return 0
    at = seen_find(seen, hashed)
    if at < seen.n and seen.hashes[at] == hashed:
        return 0
    if seen.n == EXACT:
        larger = seen_registers()
        for i in range(seen.n):
            seen_register(larger, seen.hashes[i])
        seen_register(larger, hashed)
        seen_release(seen)
        place[0] = larger
        return 0
    if seen.refs > 1 or seen.n == seen.room:
        larger = seen_new(seen.n + 1 + (seen.n >> 1))
        memcpy(larger.hashes, seen.hashes, 8 * <size_t>seen.n)
        larger.n = seen.n
        seen_release(seen)
        seen = place[0] = larger
    memmove(&seen.hashes[at + 1], &seen.hashes[at], 8 * <size_t>(seen.n - at))
    seen.hashes[at] = hashed
    seen.n += 1
    return 0


cdef int seen_union_size(Seen *a, Seen *b) noexcept:
    """Count the union of two sets that hold hashes."""
    cdef int i = 0, j = 0, n = 0
    while i < a.n and j < b.n:
        if a.hashes[i] < b.hashes[j]:
            i += 1
        elif a.hashes[i] > b.hashes[j]:
            j += 1
        else:
            i += 1
            j += 1
        n += 1
    return n + a.n - i + b.n - j


cdef void seen_into(Seen *registers, Seen *seen) noexcept:
    """Note everything of a set in registers."""
    cdef uint8_t *mine = <uint8_t *>registers.hashes
    cdef uint8_t *theirs = <uint8_t *>seen.hashes
    cdef int i
    if seen.n < 0:
        for i in range(M):
            if theirs[i] > mine[i]:
                mine[i] = theirs[i]
    else:
        for i in range(seen.n):
            seen_register(registers, seen.hashes[i])


cdef Seen *seen_merge(Seen *a, Seen *b) except? NULL:
    """Give the union, as a reference of its own; NULL if both are none."""
    cdef Seen *union_
    cdef int i = 0, j = 0, n = 0
    if a is NULL or b is NULL:
        union_ = b if a is NULL else a
        if union_ is not NULL:
            union_.refs += 1
        return union_
    if a.n < 0 or b.n < 0 or seen_union_size(a, b) > EXACT:
        union_ = seen_registers()
        seen_into(union_, a)
        seen_into(union_, b)
        return union_
    union_ = seen_new(a.n + b.n)
    while i < a.n or j < b.n:
        if j == b.n or (i < a.n and a.hashes[i] < b.hashes[j]):
            union_.hashes[n] = a.hashes[i]
            i += 1
        else:
            if i < a.n and a.hashes[i] == b.hashes[j]:
                i += 1
            union_.hashes[n] = b.hashes[j]
            j += 1
        n += 1
    union_.n = n
    return union_


cdef double seen_size(Seen *a, Seen *b) except -1.0:
    """Give the number of distinct values of the union."""
    cdef int n
    cdef double size
    cdef Seen *both
    if a is NULL or b is NULL:
        both = b if a is NULL else a
        if both is NULL:
            return 0.0
        return <double>both.n if both.n >= 0 else estimate(both)
    if a.n >= 0 and b.n >= 0:
        n = seen_union_size(a, b)
        if n <= EXACT:
            return <double>n
    both = seen_merge(a, b)
    size = estimate(both)
    seen_release(both)
    return size


cdef double estimate(Seen *seen) noexcept:
    """Ertl's improved raw estimator, operation by operation as in `sketches`."""
    cdef int64_t counts[256]
    cdef uint8_t *registers = <uint8_t *>seen.hashes
    cdef int i
    cdef double z
    memset(counts, 0, sizeof(counts))
    for i in range(M):
        counts[registers[i]] += 1
    z = M * tau(1 - <double>counts[Q + 1] / M)
    for i in range(Q, 0, -1):
        z = 0.5 * (z + <double>counts[i])
    z += M * sigma(<double>counts[0] / M)
    return M * M / (2 * log(TWO) * z)


cdef double sigma(double x) noexcept:
    cdef double y = 1.0, z = x, before = -1.0
    if x == 1:
        return INFINITY
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


cdef double tau(double x) noexcept:
    cdef double y = 1.0, z = 1 - x, before = -1.0
    if x == 0 or x == 1:
        return 0.0
    while z != before:
        x = sqrt(x)
        before = z
        y *= 0.5
        z -= pow(1 - x, TWO) * y
    return z / 3
