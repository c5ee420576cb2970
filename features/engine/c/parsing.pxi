# Reading MessagePack, as far as states need it.
#
# Laws: nothing is read past the end and nothing is believed; what does not fit raises ValueError.

cdef struct Reader:
    const uint8_t *p
    const uint8_t *end


cdef object corrupt(str what):
    return ValueError(what)


cdef int get(Reader *r, size_t n, const uint8_t **p) except -1:
    if <size_t>(r.end - r.p) < n:
        raise corrupt("the data ends early")
    p[0] = r.p
    r.p += n
    return 0


cdef uint64_t big_endian(const uint8_t *p, int n) noexcept:
    cdef uint64_t value = 0
    cdef int i
    for i in range(n):
        value = value << 8 | p[i]
    return value


cdef int get_integer(Reader *r, bint *negative, uint64_t *value) except -1:
    """Read any whole number; a negative one as two's complement."""
    cdef const uint8_t *p
    cdef int tag, n
    get(r, 1, &p)
    tag = p[0]
    negative[0] = False
    if tag < 0x80:
        value[0] = tag
    elif tag >= 0xE0:
        value[0], negative[0] = <uint64_t><int64_t>(tag - 256), True
    elif 0xCC <= tag <= 0xCF or 0xD0 <= tag <= 0xD3:
        n = 1 << (tag & 3)
        get(r, n, &p)
        value[0] = big_endian(p, n)
        if tag >= 0xD0 and value[0] >> (8 * n - 1):
            negative[0] = True
            if n < 8:
                value[0] |= ~<uint64_t>0 << (8 * n)
    else:
        raise corrupt("expected a whole number")
    return 0


cdef int64_t get_int(Reader *r) except? -1:
    cdef bint negative
    cdef uint64_t value
    get_integer(r, &negative, &value)
    if not negative and value >> 63:
        raise corrupt("a whole number is too large")
    return <int64_t>value


cdef int64_t get_time(Reader *r) except? -1:
    """Read a time, a tile's index or a count: arithmetic on it must not overflow."""
    cdef int64_t value = get_int(r)
    if not -(<int64_t>1 << 62) <= value <= <int64_t>1 << 62:
        raise corrupt("a whole number is too large")
    return value


cdef uint64_t get_hash(Reader *r) except? 1:
    cdef bint negative
    cdef uint64_t value
    get_integer(r, &negative, &value)
    if negative:
        raise corrupt("a hash is negative")
    return value


cdef double get_double(Reader *r) except? -1.0:
    cdef const uint8_t *p
    cdef Slot slot
    get(r, 9, &p)
    if p[0] != 0xCB:
        raise corrupt("expected a float")
    slot.i = <int64_t>big_endian(p + 1, 8)
    return slot.f


cdef Py_ssize_t get_array(Reader *r) except -1:
    """Read how many items follow; there is at least a byte for each."""
    cdef const uint8_t *p
    cdef size_t n
    get(r, 1, &p)
    if 0x90 <= p[0] < 0xA0:
        n = p[0] & 0x0F
    elif p[0] == 0xDC or p[0] == 0xDD:
        n = 2 if p[0] == 0xDC else 4
        get(r, n, &p)
        n = big_endian(p, <int>n)
    else:
        raise corrupt("expected an array")
    if n > <size_t>(r.end - r.p):
        raise corrupt("the data ends early")
    return n


cdef int get_exactly(Reader *r, Py_ssize_t n) except -1:
    if get_array(r) != n:
        raise corrupt("an array has another length")
    return 0


cdef bint get_nil(Reader *r) noexcept:
    """Take a nil if there is one."""
    if r.p < r.end and r.p[0] == 0xC0:
        r.p += 1
        return True
    return False


cdef int skip(Reader *r) except -1:
    """Pass over one value of any kind, without recursion."""
    cdef const uint8_t *p
    cdef uint64_t pending = 1, n
    cdef int tag
    while pending:
        pending -= 1
        get(r, 1, &p)
        tag = p[0]
        n = 0
        if 0x80 <= tag < 0x90:
            pending += 2 * (tag & 0x0F)
        elif 0x90 <= tag < 0xA0:
            pending += tag & 0x0F
        elif 0xA0 <= tag < 0xC0:
            n = tag & 0x1F
        elif 0xC4 <= tag <= 0xC6 or 0xD9 <= tag <= 0xDB:
            n = 1 << (tag - (0xC4 if tag <= 0xC6 else 0xD9))
            get(r, n, &p)
            n = big_endian(p, <int>n)
        elif tag == 0xCA:
            n = 4
        elif tag == 0xCB:
            n = 8
        elif 0xCC <= tag <= 0xD3:
            n = 1 << (tag & 3)
        elif 0xDC <= tag <= 0xDF:
            n = 2 if tag in (0xDC, 0xDE) else 4
            get(r, n, &p)
            pending += big_endian(p, <int>n) * (2 if tag >= 0xDE else 1)
            n = 0
        elif 0xC1 == tag or 0xC7 <= tag <= 0xC9 or 0xD4 <= tag <= 0xD8:
            raise corrupt("a kind of value that no state has")
        get(r, n, &p)
        if pending > <uint64_t>(r.end - r.p):
            raise corrupt("the data ends early")
    return 0


cdef object get_object(Reader *r):
    """Read one value of any kind as `msgspec` gives it."""
    cdef const uint8_t *start = r.p
    skip(r)
    return unpack_any(PyBytes_FromStringAndSize(<const char *>start, r.p - start))
