# The public document as JSON, and everything that one unit of work writes of a view.
#
# Laws: the bytes are those of `msgspec`, which writes every float that is no whole number itself.

cdef double WHOLE = 1e15      # below, a whole number is its digits and ".0"

cdef object new_tuple = tuple.__new__


cdef void put_digits(Writer *w, int64_t value) noexcept:
    """Write a whole number in decimal."""
    cdef char digits[24]
    cdef int at = 24
    cdef bint negative = value < 0
    cdef uint64_t rest = -<uint64_t>value if negative else <uint64_t>value
    while True:
        at -= 1
        digits[at] = <char>(48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    if negative:
        at -= 1
        digits[at] = 45
    put_bytes(w, &digits[at], 24 - at)


cdef inline void put_text(Writer *w, bytes text) noexcept:
    put_bytes(w, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef inline bint is_whole(double value) noexcept:
    return -WHOLE < value < WHOLE and value == <double><int64_t>value and not (value == 0 and signbit(value))


cdef int put_document(Plan plan, NativeState state, Scratch *scratch, int64_t t, int64_t written, Writer *w) except -1:
    """Write the document as of `t`, which is not before the newest event."""
    cdef Value *value
    cdef list others = []
    cdef int i
    cdef int64_t until
    cdef bytes text = b""
    cdef const char *at
    cdef const char *end
    seek(plan, state, &plan.every, t)
    for i in range(plan.every.n):
        value = &scratch.shown[i]
        value_release(value)
        read_result(plan, state, &plan.every.results[i], t, NULL, value)
        if value.held == THING and type(<object>value.thing) is float:
            number = <double>(<object>value.thing)
            value_release(value)
            set_number(value, number)
        if value.held == NUMBER and not is_whole(value.number):
            others.append(value.number)
    if others:
        text = json_of(others)
    at = PyBytes_AS_STRING(text) + 1
    for i in range(plan.every.n):
        value = &scratch.shown[i]
        put_text(w, <bytes>plan.labels[i])
        if value.held == NOTHING:
            put_bytes(w, b"null", 4)
        elif value.held == THING:
            put_text(w, json_of(<object>value.thing))
            value_release(value)
        elif is_whole(value.number):
            put_digits(w, <int64_t>value.number)
            put_bytes(w, b".0", 2)
        else:
            end = at
            while end[0] != 44 and end[0] != 93:  # a comma, or the end of the list
                end += 1
            put_bytes(w, at, end - at)
            at = end + 1
    put_bytes(w, b'},"at":', 7)
    put_digits(w, t)
    put_bytes(w, b',"until":', 9)
    until = until_ms(plan, state, t)
    if until == ALWAYS:
        put_bytes(w, b"null", 4)
    else:
        put_digits(w, until)
    put_bytes(w, b',"written":', 11)
    put_digits(w, written)
    put_text(w, plan.ending)
    return 0


cdef bytes taken(Writer *w):
    """Give what was written, and start over."""
    if w.failed:
        raise MemoryError
    cdef bytes found = PyBytes_FromStringAndSize(w.p, w.n)
    w.n = 0
    return found
