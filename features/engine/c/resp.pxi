# The Redis protocol: one command of many arguments as bytes.

cdef void put_line(Writer *w, char kind, int64_t n) noexcept:
    put_bytes(w, &kind, 1)
    put_digits(w, n)
    put_bytes(w, b"\r\n", 2)


cdef int put_bulk(Writer *w, value) except -1:
    """Write one argument: bytes, text or a whole number."""
    cdef const char *p
    cdef Py_ssize_t n
    if type(value) is not bytes and type(value) is not str:
        if type(value) is not int:
            raise TypeError(f"{type(value).__name__} is no argument of a command")
        value = str(value)
    if type(value) is bytes:
        p, n = PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
    else:
        p = PyUnicode_AsUTF8AndSize(value, &n)
    put_line(w, 36, n)
    put_bytes(w, p, n)
    put_bytes(w, b"\r\n", 2)
    return 0


def save_command(list opening, list values, writes):
    """See `resp.save_command`."""
    cdef Writer w
    w.p, w.n, w.room, w.failed = NULL, 0, 0, False
    try:
        put_line(&w, 42, len(opening) + len(values) + 5 * len(writes))
        for value in opening:
            put_bulk(&w, value)
        for one in writes:
            if not isinstance(one, Write):
                raise TypeError("not a Write")
            put_bulk(&w, (<tuple>one)[0])
            put_bulk(&w, (<tuple>one)[2])
        for value in values:
            put_bulk(&w, value)
        for one in writes:
            put_bulk(&w, (<tuple>one)[1])
            put_bulk(&w, (<tuple>one)[3])
            put_bulk(&w, (<tuple>one)[4])
        return taken(&w)
    finally:
        free(w.p)
