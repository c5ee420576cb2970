# Writing MessagePack, as far as states need it: the shortest form of everything, as `msgspec` writes it.

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t byte_swap(uint64_t value) {
        const union { uint16_t word; uint8_t first; } order = {1};
        if (!order.first) return value;
        value = (value & 0x00FF00FF00FF00FFu) << 8 | (value >> 8 & 0x00FF00FF00FF00FFu);
        value = (value & 0x0000FFFF0000FFFFu) << 16 | (value >> 16 & 0x0000FFFF0000FFFFu);
        return value << 32 | value >> 32;
    }
    """
    uint64_t byte_swap(uint64_t value) noexcept

cdef struct Writer:
    char *p
    size_t n
    size_t room
    bint failed

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


cdef inline char *write(char *to, int tag, uint64_t value, int n) noexcept:
    """Write a tag and the n last bytes of a value, the greatest first; give the place behind them."""
    cdef uint64_t turned = byte_swap(value << (64 - 8 * n) if n else 0)
    to[0] = <char>tag
    memcpy(to + 1, &turned, n)
    return to + 1 + n


cdef inline char *write_unsigned(char *to, uint64_t value) noexcept:
    if value < 0x80:
        return write(to, <int>value, 0, 0)
    if value < 0x100:
        return write(to, 0xCC, value, 1)
    if value < 0x10000:
        return write(to, 0xCD, value, 2)
    if value < 0x100000000:
        return write(to, 0xCE, value, 4)
    return write(to, 0xCF, value, 8)


cdef inline char *write_int(char *to, int64_t value) noexcept:
    if value >= 0:
        return write_unsigned(to, <uint64_t>value)
    if value >= -0x20:
        return write(to, <int>(value & 0xFF), 0, 0)
    if value >= -0x80:
        return write(to, 0xD0, <uint64_t>value, 1)
    if value >= -0x8000:
        return write(to, 0xD1, <uint64_t>value, 2)
    if value >= -0x80000000:
        return write(to, 0xD2, <uint64_t>value, 4)
    return write(to, 0xD3, <uint64_t>value, 8)


cdef inline char *write_double(char *to, double value) noexcept:
    return write(to, 0xCB, bits_of(value), 8)


cdef inline char *write_array(char *to, size_t n) noexcept:
    if n < 16:
        return write(to, 0x90 | <int>n, 0, 0)
    if n < 0x10000:
        return write(to, 0xDC, n, 2)
    return write(to, 0xDD, n, 4)


cdef inline int room_for(Writer *w, size_t n) noexcept:
    """Make sure of so many bytes; 0 without memory."""
    if w.n + n <= w.room:
        return 1
    if need(w, n) is NULL:
        return 0
    w.n -= n
    return 1


cdef inline void put(Writer *w, int tag, uint64_t value, int n) noexcept:
    if room_for(w, 16):
        w.n = write(w.p + w.n, tag, value, n) - w.p


cdef inline void put_int(Writer *w, int64_t value) noexcept:
    if room_for(w, 16):
        w.n = write_int(w.p + w.n, value) - w.p


cdef inline void put_unsigned(Writer *w, uint64_t value) noexcept:
    if room_for(w, 16):
        w.n = write_unsigned(w.p + w.n, value) - w.p


cdef inline void put_double(Writer *w, double value) noexcept:
    put(w, 0xCB, bits_of(value), 8)


cdef inline uint64_t bits_of(double value) noexcept:
    cdef Slot slot
    slot.f = value
    return <uint64_t>slot.i


cdef inline void put_array(Writer *w, size_t n) noexcept:
    if room_for(w, 16):
        w.n = write_array(w.p + w.n, n) - w.p


cdef void put_bytes(Writer *w, const char *p, size_t n) noexcept:
    cdef char *to = need(w, n)
    if to is not NULL:
        memcpy(to, p, n)


cdef int put_object(Writer *w, object value) except -1:
    """Write what a dated column holds: None, a float or text; anything else as `msgspec` does."""
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
