# The fields of messages and records, read where they lie in the object: an attribute asked for by name costs thirty times as
# much. Included by folding.pyx.

cdef struct Places:  # how far from its start an object of each kind keeps a field
    Py_ssize_t sample_origin, sample_id, sample_key, sample_at, sample_x, sample_recipe
    Py_ssize_t label_origin, label_id, label_at, label_y
    Py_ssize_t topic_id, partition, offset, sub
    Py_ssize_t x, at, position, number, p, base, answer, outside, issued, segments
    Py_ssize_t asked, said, mixture
    Py_ssize_t mixed, rates, least, boosted

cdef Places AT
cdef int64_t MOST_WHOLE = 1 << 62, MOST_OFFSET = 1 << 58


cdef Py_ssize_t place_of(object kind, str name) except -1:
    """Where objects of this kind keep a field: a slot of their own, which is never empty once they are made."""
    slot = vars(kind).get(name)
    if Py_TYPE(slot) != &PyMemberDescr_Type or (<PyMemberDescrObject *><PyObject *>slot).d_member.type != T_OBJECT_EX:
        raise ImportError(f"{kind.__name__}.{name} is no slot in this release of msgspec")
    return (<PyMemberDescrObject *><PyObject *>slot).d_member.offset


cdef inline object field(object one, Py_ssize_t place):
    return <object>(<PyObject **>(<char *><PyObject *>one + place))[0]


cdef bint whole(object value, int64_t *into) except -1:
    """Whether it is an integer that 62 bits hold, and which: whoever writes to the log may write any."""
    cdef int overflow
    if not PyLong_CheckExact(value):
        return False
    into[0] = PyLong_AsLongLongAndOverflow(value, &overflow)
    return not overflow and -MOST_WHOLE < into[0] < MOST_WHOLE


cdef bint place_in_log(object origin, int64_t *here) except -1:
    """As `learner.Seen` counts an origin's offset and what it is of."""
    cdef int64_t offset, sub
    if type(origin) is not Origin or not whole(field(origin, AT.offset), &offset) or not whole(field(origin, AT.sub), &sub):
        return False
    here[0] = offset * 4 + sub
    return -MOST_OFFSET < offset < MOST_OFFSET


cdef int find_places() except -1:
    AT.sample_origin, AT.sample_id, AT.sample_key = [place_of(Sample, name) for name in ("origin", "id", "key")]
    AT.sample_at, AT.sample_x, AT.sample_recipe = [place_of(Sample, name) for name in ("at", "x", "recipe")]
    AT.label_origin, AT.label_id, AT.label_at, AT.label_y = [
        place_of(LabelRecord, name) for name in ("origin", "id", "at", "y")
    ]
    AT.topic_id, AT.partition, AT.offset, AT.sub = [
        place_of(Origin, name) for name in ("topic_id", "partition", "offset", "sub")
    ]
    AT.x, AT.at, AT.position, AT.number = [place_of(Pending, name) for name in ("x", "at", "position", "number")]
    AT.p, AT.base, AT.answer = [place_of(Pending, name) for name in ("p", "base", "answer")]
    AT.outside, AT.issued, AT.segments = [place_of(Pending, name) for name in ("outside", "issued", "segments")]
    AT.asked, AT.said, AT.mixture = [place_of(Answer, name) for name in ("asked", "said", "mixture")]
    AT.mixed, AT.rates, AT.least, AT.boosted = [
        place_of(Mixture, name) for name in ("p", "rates", "least", "boosted")
    ]
    return 0


find_places()
