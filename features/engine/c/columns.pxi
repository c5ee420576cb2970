# The columns of a tile as C values: how each kind starts, takes a value, merges and goes.
#
# Laws: every operation on floats is the one that `aggregates` writes, in the same order, so that the bits are equal.
# A slot that owns something (an object, a set) owns one reference; NULL is None. What C has no form for (`last_n`,
# `buckets`, `counts`, `histogram`) is kept as the Python object and worked on by the functions of `aggregates`.

cdef enum Op:
    COUNT, SUM, LEAST, MOST, NEWEST, MOMENTS, FIRST, LAST, ROW, DISTINCT, OBJECT, DATED_OBJECT, WEIGHT, WEIGHTED

cdef union Slot:
    int64_t i
    double f
    PyObject *o
    Seen *seen

cdef struct Col:
    Op op
    int at            # its first slot; MOMENTS: count, mean, squares; FIRST, LAST, ROW: time, tie, value; DISTINCT: see `sets`
    int field         # place among the fields, -1: none
    int where         # place among the expressions of its condition, -1: none
    int row           # place of the expression whose value it keeps, -1: none
    int decay         # place among the half-lives, -1: none
    PyObject *add     # of OBJECT; borrowed from the engine, as all of these are
    PyObject *merge
    PyObject *constant
    bint add_constant  # whether the functions take the constant
    bint merge_constant
    PyObject *name    # the name of the kind, for the wire form

cdef struct Layout:
    int n
    int width         # slots in all
    bint plain        # no slot owns anything
    Col *cols
    Slot *zero

cdef struct Field:
    bint null
    bint hashed
    double number
    uint64_t hash
    PyObject *value   # borrowed from the event, or from `kept`
    PyObject *kept    # owned: a number as a float

cdef struct Happening:
    int64_t at
    int64_t tie
    Field *fields
    PyObject **rows   # owned: the expressions' values
    bint *holds       # whether they are true
    double *weights   # by half-life


cdef bint owns(Op op) noexcept:
    return op in (DISTINCT, OBJECT, DATED_OBJECT, FIRST, LAST, ROW)


cdef void slots_release(Layout *layout, Slot *slots) noexcept:
    """Drop what the slots own; they must be written anew before they are used."""
    cdef int i
    cdef Col *col
    if layout.plain:
        return
    for i in range(layout.n):
        col = &layout.cols[i]
        if col.op == DISTINCT:
            set_release(&slots[col.at])
        elif col.op == OBJECT or col.op == DATED_OBJECT:
            Py_XDECREF(slots[col.at].o)
        elif owns(col.op):
            Py_XDECREF(slots[col.at + 2].o)


cdef void slots_copy(Layout *layout, Slot *to, Slot *source) noexcept:
    """Fill slots that own nothing with a copy."""
    cdef int i
    cdef Col *col
    memcpy(to, source, sizeof(Slot) * layout.width)
    if layout.plain:
        return
    for i in range(layout.n):
        col = &layout.cols[i]
        if col.op == DISTINCT:
            set_keep(&to[col.at])
        elif col.op == OBJECT or col.op == DATED_OBJECT:
            Py_XINCREF(to[col.at].o)
        elif owns(col.op):
            Py_XINCREF(to[col.at + 2].o)


cdef void slots_zero(Layout *layout, Slot *to) noexcept:
    """Fill slots that own nothing with the empty columns, which own nothing either."""
    memcpy(to, layout.zero, sizeof(Slot) * layout.width)


cdef inline bint dated_before(Slot *a, Slot *b) noexcept:
    return a[0].i < b[0].i or (a[0].i == b[0].i and a[1].i < b[1].i)


cdef object or_none(PyObject *value):
    return None if value is NULL else <object>value


cdef object merged_object(Col *col, Slot *a, Slot *b):
    """Merge two object columns with the function of `aggregates`."""
    if not col.merge_constant:
        return (<object>col.merge)(or_none(a[col.at].o), or_none(b[col.at].o))
    return (<object>col.merge)(or_none(a[col.at].o), or_none(b[col.at].o), <object>col.constant)


cdef int keep_object(PyObject **place, object value) except -1:
    """Put an object (None is NULL) in the place of another."""
    cdef PyObject *before = place[0]
    if value is None:
        place[0] = NULL
    else:
        Py_INCREF(value)
        place[0] = <PyObject *>value
    Py_XDECREF(before)
    return 0


cdef int merge_moments(Slot *to, Slot *a, Slot *b) except -1:
    cdef int64_t m = a[0].i, n = b[0].i, both = m + n
    cdef double mean = a[1].f, squares = a[2].f, off, share
    if n == 0 or m == 0:
        if n != 0:
            a = b
        to[0].i, to[1].f, to[2].f = a[0].i, a[1].f, a[2].f
        return 0
    off = b[1].f - mean
    # Python divides whole numbers exactly; beyond 2 ** 53 a product would be rounded before it is divided.
    if m < (1 << 26) and n < (1 << 26):
        share = <double>(m * n) / <double>both
    else:
        share = <object>m * <object>n / <object>both
    squares = squares + b[2].f + off * off * share
    to[1].f = mean + off * (<double>n / <double>both)
    to[2].f = squares
    to[0].i = both
    return 0


cdef int merge_col(Col *col, Slot *to, Slot *a, Slot *b) except -1:
    """Write the merge of two columns, `a` the older, over a third, which may be one of them."""
    cdef int at = col.at
    cdef Op op = col.op
    cdef Slot *kept
    if op == COUNT:
        to[at].i = a[at].i + b[at].i
    elif op == SUM or op == WEIGHT or op == WEIGHTED:
        to[at].f = a[at].f + b[at].f
    elif op == LEAST:
        to[at].f = a[at].f if a[at].f <= b[at].f else b[at].f
    elif op == MOST:
        to[at].f = a[at].f if a[at].f >= b[at].f else b[at].f
    elif op == NEWEST:
        to[at].i = a[at].i if a[at].i >= b[at].i else b[at].i
    elif op == MOMENTS:
        merge_moments(&to[at], &a[at], &b[at])
    elif op == DISTINCT:
        set_merge(&to[at], &a[at], &b[at])
    elif op == OBJECT or op == DATED_OBJECT:
        keep_object(&to[at].o, merged_object(col, a, b))
    else:
        if a[at + 2].o is NULL:
            kept = &b[at]
        elif b[at + 2].o is NULL:
            kept = &a[at]
        elif op == FIRST:
            kept = &b[at] if dated_before(&b[at], &a[at]) else &a[at]
        else:
            kept = &a[at] if dated_before(&b[at], &a[at]) else &b[at]
        Py_XINCREF(kept[2].o)
        Py_XDECREF(to[at + 2].o)
        to[at], to[at + 1], to[at + 2] = kept[0], kept[1], kept[2]
    return 0


cdef int merge_all(Layout *layout, Slot *to, Slot *a, Slot *b) except -1:
    cdef int i
    for i in range(layout.n):
        merge_col(&layout.cols[i], to, a, b)
    return 0


cdef int add_object(Col *col, Slot *slot, Happening *event) except -1:
    cdef object value = field_object(&event.fields[col.field])
    if col.op == DATED_OBJECT:
        value = (event.at, event.tie, value)
    if not col.add_constant:
        value = (<object>col.add)(or_none(slot.o), value)
    else:
        value = (<object>col.add)(or_none(slot.o), value, <object>col.constant)
    return keep_object(&slot.o, value)


cdef object field_object(Field *field):
    """Give a field as Python sees it; numbers are floats."""
    cdef object value
    if field.value is NULL:
        value = field.number
        Py_INCREF(value)
        field.kept = field.value = <PyObject *>value
    return <object>field.value


cdef int add_moments(Slot *slot, double value) noexcept:
    cdef double off
    if slot[0].i == 0:
        slot[0].i, slot[1].f, slot[2].f = 1, value, 0.0
        return 0
    slot[0].i += 1
    off = value - slot[1].f
    slot[1].f += off / <double>slot[0].i
    slot[2].f = slot[2].f + off * (value - slot[1].f)
    return 0


cdef int add_event(Layout *layout, Slot *slots, Happening *event) except -1:
    """Fold an event into every column that it counts for."""
    cdef int i
    cdef Col *col
    cdef Slot *slot
    cdef Field *field
    cdef PyObject *kept
    cdef double value
    for i in range(layout.n):
        col = &layout.cols[i]
        if col.where >= 0 and not event.holds[col.where]:
            continue
        field = NULL
        value = 0.0
        if col.field >= 0:
            field = &event.fields[col.field]
            if field.null:
                continue
            value = field.number
        slot = &slots[col.at]
        if col.op == COUNT:
            slot.i += 1
        elif col.op == SUM:
            slot.f += value
        elif col.op == LEAST:
            if value < slot.f:
                slot.f = value
        elif col.op == MOST:
            if value > slot.f:
                slot.f = value
        elif col.op == NEWEST:
            if event.at > slot.i:
                slot.i = event.at
        elif col.op == MOMENTS:
            add_moments(slot, value)
        elif col.op == WEIGHT:
            slot.f += event.weights[col.decay]
        elif col.op == WEIGHTED:
            slot.f += event.weights[col.decay] * value
        elif col.op == DISTINCT:
            if not field.hashed:
                field.hash = value_hash(field_object(field))
                field.hashed = True
            set_add(slot, field.hash)
        elif col.op == OBJECT or col.op == DATED_OBJECT:
            add_object(col, slot, event)
        else:
            if slot[2].o is not NULL:
                if col.op == FIRST:
                    if not (event.at < slot[0].i or (event.at == slot[0].i and event.tie < slot[1].i)):
                        continue
                elif not (event.at > slot[0].i or (event.at == slot[0].i and event.tie > slot[1].i)):
                    continue
            if col.op == ROW:
                kept = event.rows[col.row]
            else:
                field_object(field)
                kept = field.value
            Py_XINCREF(kept)
            Py_XDECREF(slot[2].o)
            slot[0].i, slot[1].i, slot[2].o = event.at, event.tie, kept
    return 0
