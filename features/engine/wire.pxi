# MessagePack, as far as states need it: the shortest form of everything, as ``msgspec`` writes it.
#
# Laws: nothing is read past the end and nothing is believed; what does not fit raises ValueError.

cdef struct Writer:
    char *p
    size_t n
    size_t room
    bint failed

cdef struct Reader:
    const uint8_t *p
    const uint8_t *end


cdef char *need(Writer *w, size_t n) noexcept:
    """Give where to write so many bytes, which count as written; NULL without memory."""
    cdef size_t room
    cdef char *more
    if w.n + n > w.room:
        room = 2 * (w.n + n) + 256
        more = <char *>realloc(w.p, room)
        if more is NULL:
            w.failed = True
            return NULL
        w.p, w.room = more, room
    w.n += n
    return w.p + w.n - n


cdef inline void put(Writer *w, int tag, uint64_t value, int n) noexcept:
    """Write a tag and n bytes, the greatest first."""
    cdef char *to = need(w, 1 + n)
    cdef int i
    if to is NULL:
        return
    to[0] = <char>tag
    for i in range(n):
        to[n - i] = <char>(value & 0xFF)
        value >>= 8


cdef void put_unsigned(Writer *w, uint64_t value) noexcept:
    if value < 0x80:
        put(w, <int>value, 0, 0)
    elif value < 0x100:
        put(w, 0xCC, value, 1)
    elif value < 0x10000:
        put(w, 0xCD, value, 2)
    elif value < 0x100000000:
        put(w, 0xCE, value, 4)
    else:
        put(w, 0xCF, value, 8)


cdef void put_int(Writer *w, int64_t value) noexcept:
    if value >= 0:
        put_unsigned(w, <uint64_t>value)
    elif value >= -0x20:
        put(w, <int>(value & 0xFF), 0, 0)
    elif value >= -0x80:
        put(w, 0xD0, <uint64_t>value, 1)
    elif value >= -0x8000:
        put(w, 0xD1, <uint64_t>value, 2)
    elif value >= -0x80000000:
        put(w, 0xD2, <uint64_t>value, 4)
    else:
        put(w, 0xD3, <uint64_t>value, 8)


cdef inline void put_double(Writer *w, double value) noexcept:
    cdef Slot slot
    slot.f = value
    put(w, 0xCB, <uint64_t>slot.i, 8)


cdef void put_array(Writer *w, size_t n) noexcept:
    if n < 16:
        put(w, 0x90 | <int>n, 0, 0)
    elif n < 0x10000:
        put(w, 0xDC, n, 2)
    else:
        put(w, 0xDD, n, 4)


cdef void put_bytes(Writer *w, const char *p, size_t n) noexcept:
    cdef char *to = need(w, n)
    if to is not NULL:
        memcpy(to, p, n)


cdef int put_object(Writer *w, object value) except -1:
    """Write what a dated column holds: None, a float or text; anything else as ``msgspec`` does."""
    cdef Py_ssize_t n
    cdef const char *text
    if type(value) is float:
        put_double(w, <double>value)
    elif value is None:
        put(w, 0xC0, 0, 0)
    elif type(value) is str:
        text = PyUnicode_AsUTF8AndSize(value, &n)
        if n < 32:
            put(w, 0xA0 | <int>n, 0, 0)
        elif n < 0x100:
            put(w, 0xD9, n, 1)
        elif n < 0x10000:
            put(w, 0xDA, n, 2)
        else:
            put(w, 0xDB, n, 4)
        put_bytes(w, text, n)
    else:
        return put_packed(w, value)
    return 0


cdef int put_packed(Writer *w, object value) except -1:
    cdef bytes data = pack_any(value)
    put_bytes(w, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return 0


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
    """Read one value of any kind as ``msgspec`` gives it."""
    cdef const uint8_t *start = r.p
    skip(r)
    return unpack_any(PyBytes_FromStringAndSize(<const char *>start, r.p - start))
