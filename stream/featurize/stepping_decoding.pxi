# Records into items, and what these need, as `decode`, `keys` and `step` have it. Included by stepping.pyx.

cdef inline void set_place(tuple made, Py_ssize_t place, object value) noexcept:
    Py_INCREF(value)
    PyTuple_SET_ITEM(made, place, value)


cdef tuple new_named(object kind, Py_ssize_t many):
    """A tuple of this kind, to be filled at once."""
    cdef PyObject *made = (<PyTypeObject *>kind).tp_alloc(<PyTypeObject *>kind, many)
    given = <tuple>made
    Py_DECREF(made)
    return given


cdef object new_item(object at, object source, tuple record, object newest_at, object text, object event):
    """As `Item(at, source, record.partition, record.offset, newest_at, text, event, None, record)`."""
    cdef tuple made = new_named(Item, 9)
    set_place(made, 0, at)
    set_place(made, 1, source)
    set_place(made, 2, record[1])
    set_place(made, 3, record[2])
    set_place(made, 4, newest_at)
    set_place(made, 5, text)
    set_place(made, 6, event)
    set_place(made, 7, None)
    set_place(made, 8, record)
    return made


cdef object new_out(object topic, bytes entry):
    """As `Out(topic, None, entry, (), 0)`."""
    cdef tuple made = new_named(Out, 5)
    set_place(made, 0, topic)
    set_place(made, 1, None)
    set_place(made, 2, entry)
    set_place(made, 3, NOTHING)
    set_place(made, 4, FIRST)
    return made


cdef bint whole(PyObject *found, int64_t *into) except -1:
    """Whether this is an integer of at most 63 bits and a sign, and which."""
    cdef int overflow
    if found is NULL or not PyLong_CheckExact(<object>found):
        return False
    into[0] = PyLong_AsLongLongAndOverflow(<object>found, &overflow)
    return not overflow


cdef class Checks:
    """What `SourceDecoder.decode` holds a record against."""

    cdef object decode_event, time, id
    cdef list texts, named
    cdef int64_t grace_ms, ahead_ms

    def __init__(self, decoder):
        self.decode_event, self.time, self.id = decoder.decode_event, decoder.time, decoder.source.id
        self.texts, self.named = list(decoder.texts), list(decoder.named_inputs)
        self.grace_ms, self.ahead_ms = decoder.grace_ms, decoder.ahead_ms

    cdef dict event_of(self, tuple record, int64_t newest):
        """The event of an ordinary record; None for every other one."""
        cdef int64_t value, at, stamp
        cdef PyObject *found
        cdef dict event
        given = record[5]
        if not PyBytes_CheckExact(given) or PyBytes_GET_SIZE(given) > MOST_BYTES:
            return None
        try:
            event = self.decode_event(given)
        except Exception:
            return None
        if PyBytes_GET_SIZE(given) > NESTED and too_deep(given):
            return None
        for name in self.texts:
            found = PyDict_GetItemWithError(event, name)
            if found is NULL:
                return None
            if PyUnicode_CheckExact(<object>found):
                if PyUnicode_GET_LENGTH(<object>found) > MOST_CHARACTERS:
                    return None
            elif PyLong_CheckExact(<object>found) and not whole(found, &value):
                return None
        for name in self.named:
            found = PyDict_GetItemWithError(event, name)
            if found is NULL or (
                PyLong_CheckExact(<object>found) and (not whole(found, &value) or value == LEAST_WHOLE)
            ):
                return None
        if not whole(PyDict_GetItemWithError(event, self.time), &at) or not 0 <= at < END_OF_TIME:
            return None
        if not whole(<PyObject *>record[3], &stamp) or at - self.ahead_ms > stamp or at < newest - self.grace_ms:
            return None
        return event


def items(decoder, records, newest_at):
    """As `SourceDecoder.items`."""
    cdef Checks checks = Checks(decoder)
    cdef int64_t at, newest = newest_at
    cdef Py_ssize_t behind = 0
    cdef dict event
    cdef list found = []
    source = decoder.index
    for record in records:
        event = checks.event_of(<tuple>record, newest) if type(record) is Record else None
        text = None if event is None else event[checks.id]
        if not PyUnicode_CheckExact(text):
            one = decoder.item(record, newest_at)
            newest = newest_at = one.newest_at
            found.append(one)
            continue
        time = event[checks.time]
        at = time
        if at > newest:
            newest, newest_at = at, time
        elif at < newest:
            behind += 1
        found.append(new_item(time, source, <tuple>record, newest_at, text, event))
    decoder.out_of_order += behind
    return found


cdef object named(dict event, tuple fields):
    """As `keys.entity_of`."""
    cdef const uint8_t *text
    cdef Py_ssize_t i, size
    cdef PyObject *part
    if len(fields) == 1:
        part = PyDict_GetItemWithError(event, fields[0])
        if part is not NULL and PyUnicode_CheckExact(<object>part) and PyUnicode_IS_ASCII(<object>part):
            text, size = PyUnicode_1BYTE_DATA(<object>part), PyUnicode_GET_LENGTH(<object>part)
            for i in range(size):
                if not (48 <= text[i] < 58 or 65 <= text[i] < 91 or 97 <= text[i] < 123):
                    break
            else:
                if size:
                    return <object>part
    return entity_of(event, fields)


def needed(dict plans_of, items):
    """As `order.needed`; `plans_of` holds each partition's `Featurize` as (plans, states, what is missing of it)."""
    cdef list entities = [], keys, plans, states
    cdef tuple of, plan, item
    cdef dict missing
    for one in items:
        item = <tuple>one
        event, keys = item[6], []
        entities.append(keys)
        if event is None:
            continue
        of = plans_of[item[2]]
        plans, states, missing = of
        plan = <tuple>plans[<Py_ssize_t>item[1]]
        for fields in plan[1]:
            keys.append(named(event, fields))
        for number, _, place, _ in plan[2]:
            entity = keys[<Py_ssize_t>place]
            if entity is not None and entity not in <dict>states[<Py_ssize_t>number]:
                missing[(number, entity)] = None
    return entities
