# The samples log's MessagePack of a sample and of a label, as `messages.encode_entry` gives it. Included by stepping.pyx.

cdef struct Packer:
    uint8_t *data
    Py_ssize_t size
    Py_ssize_t room

cdef Packer PACKER
PACKER.data, PACKER.size, PACKER.room = NULL, 0, 0


cdef int need(Py_ssize_t more) except -1:
    """Make room for so many more bytes."""
    cdef void *moved
    if PACKER.size + more > PACKER.room:
        moved = PyMem_Realloc(PACKER.data, (PACKER.size + more) * 2)
        if moved is NULL:
            raise MemoryError
        PACKER.data, PACKER.room = <uint8_t *>moved, (PACKER.size + more) * 2
    return 0


cdef inline void put(uint8_t byte) noexcept:
    PACKER.data[PACKER.size] = byte
    PACKER.size += 1


cdef inline void put_bytes(uint64_t value, int many) noexcept:
    """The lowest `many` bytes, the highest of them first."""
    cdef int i
    for i in range(many):
        PACKER.data[PACKER.size + i] = <uint8_t>(value >> (8 * (many - 1 - i)))
    PACKER.size += many


cdef int put_whole(int64_t value) except -1:
    need(9)
    if 0 <= value < 128 or -32 <= value < 0:
        put(<uint8_t>value)
    elif 0 <= value < 1 << 8:
        put(0xCC)
        put_bytes(value, 1)
    elif 0 <= value < 1 << 16:
        put(0xCD)
        put_bytes(value, 2)
    elif 0 <= value < <int64_t>1 << 32:
        put(0xCE)
        put_bytes(value, 4)
    elif value >= 0:
        put(0xCF)
        put_bytes(value, 8)
    elif value >= -(1 << 7):
        put(0xD0)
        put_bytes(value, 1)
    elif value >= -(1 << 15):
        put(0xD1)
        put_bytes(value, 2)
    elif value >= -(<int64_t>1 << 31):
        put(0xD2)
        put_bytes(value, 4)
    else:
        put(0xD3)
        put_bytes(value, 8)
    return 0


cdef int put_text(object text) except -1:
    cdef Py_ssize_t size
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    need(size + 5)
    if size < 32:
        put(0xA0 | <uint8_t>size)
    elif size < 1 << 8:
        put(0xD9)
        put_bytes(size, 1)
    elif size < 1 << 16:
        put(0xDA)
        put_bytes(size, 2)
    else:
        put(0xDB)
        put_bytes(size, 4)
    memcpy(PACKER.data + PACKER.size, data, size)
    PACKER.size += size
    return 0


cdef bint put_value(object value) except -1:
    """False for what is none of the plain values."""
    cdef uint64_t bits
    cdef double number
    cdef int overflow
    cdef int64_t whole
    if PyFloat_CheckExact(value):
        number = PyFloat_AS_DOUBLE(value)
        memcpy(&bits, &number, 8)
        need(9)
        put(0xCB)
        put_bytes(bits, 8)
    elif value is None or value is True or value is False:
        need(1)
        put(0xC0 if value is None else 0xC3 if value is True else 0xC2)
    elif PyUnicode_CheckExact(value):
        put_text(value)
    elif PyLong_CheckExact(value):
        whole = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            return False
        put_whole(whole)
    else:
        return False
    return True


cdef int put_opening(int fields, str tag, object topic_id, tuple item, int sub) except -1:
    """A tagged array of so many fields, and the first of them: the item's origin."""
    PACKER.size = 0
    need(2)
    put(0x90 | <uint8_t>(fields + 1))
    put_text(tag)
    need(1)
    put(0x94)
    put_text(topic_id)
    put_whole(item[2])
    put_whole(item[3])
    put_whole(sub)
    return 0


cdef bytes packed_sample(object topic_id, tuple item, object key, list vector, object digest):
    """As `encode_entry` of a `Sample` without a label's key, and without segments."""
    cdef Py_ssize_t many = len(vector)
    cdef bint plain = many < 1 << 16
    put_opening(8, "sample", topic_id, item, 0)
    put_text(item[5])
    put_text(key)
    put_whole(item[0])
    need(3)
    if many < 16:
        put(0x90 | <uint8_t>many)
    else:
        put(0xDC)
        put_bytes(many, 2)
    for value in vector:
        plain = plain and put_value(value)
    put_text(digest)
    need(2)
    put(0xC0)
    put(0xC0)
    if not plain:
        origin = Origin(topic_id, item[2], item[3], 0)
        return encode_entry(Sample(origin, item[5], key, item[0], vector, digest))
    return PyBytes_FromStringAndSize(<char *>PACKER.data, PACKER.size)


cdef bytes packed_label(object topic_id, tuple item, object y):
    """As `encode_entry` of a `LabelRecord` that is joined by id."""
    put_opening(5, "label", topic_id, item, 1)
    put_text(item[5])
    put_whole(item[0])
    if not put_value(y):
        return encode_entry(LabelRecord(Origin(topic_id, item[2], item[3], 1), item[5], item[0], y))
    need(1)
    put(0xC0)
    return PyBytes_FromStringAndSize(<char *>PACKER.data, PACKER.size)
