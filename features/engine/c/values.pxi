# From columns to values: what `codegen` writes as text, as a plan that is walked.
#
# Laws: the operations on floats and their order are those of the text; what is empty gives the feature's default.

cdef enum Kind:
    V_COUNT, V_RATE, V_SUM, V_MEAN, V_VARIANCE, V_STD, V_LEAST, V_MOST, V_DATED, V_LAST_N, V_DISTINCT, V_QUANTILE,
    V_TOP_K, V_HISTOGRAM, V_DECAYED, V_DECAYED_MEAN, V_SINCE, V_SINCE_WHERE

cdef enum Where:
    IN_TOTALS, IN_RING, IN_VISITS, NO_COLUMNS

cdef enum Held:
    NOTHING, NUMBER, THING

cdef struct Value:
    Held held
    double number
    PyObject *thing   # owned

cdef struct Leaf:
    Kind kind
    Where where
    int g             # ring or session
    int k             # window of the ring
    Col *column
    Col *second       # NULL: none
    int decay         # place among the half-lives
    double scale      # of a rate: seconds
    bint has_default
    double number     # the default, if it is a number
    PyObject *text    # the default, if it is text
    PyObject *function  # of what Python works out
    PyObject *constant
    int row           # of `row`: place of its expression, -1: no row
    int condition     # of `row`: place of its condition, -1: none
    bint before       # read before an event of its own source
    bint computed     # may leave the numbers a model can use

cdef struct Result:
    int leaf
    int under         # the divisor's leaf; -1: no ratio
    bint has_default
    double number

cdef struct Reading:
    int n
    Result *results
    int n_groups
    int *groups       # rings to seek


cdef inline void set_number(Value *value, double number) noexcept:
    value.held, value.number = NUMBER, number


cdef inline int set_thing(Value *value, object thing) except -1:
    if thing is None:
        value.held = NOTHING
        return 0
    Py_INCREF(thing)
    value.held, value.thing = THING, <PyObject *>thing
    return 0


cdef inline void value_release(Value *value) noexcept:
    if value.held == THING:
        Py_XDECREF(value.thing)
    value.held = NOTHING


cdef inline void bound(Value *value) noexcept:
    """Make null of what no model can use: what is not finite, or too great to be squared."""
    cdef double number
    if value.held == NUMBER:
        number = value.number
    elif value.held == THING and PyFloat_CheckExact(<object>value.thing):
        number = PyFloat_AS_DOUBLE(<object>value.thing)
    else:
        return
    if not (-MOST_NUMBER <= number <= MOST_NUMBER):
        value_release(value)


cdef object value_object(Value *value):
    if value.held == NUMBER:
        return value.number
    return None if value.held == NOTHING else <object>value.thing


cdef inline void set_default(Leaf *leaf, Value *value) noexcept:
    if not leaf.has_default:
        value.held = NOTHING
    elif leaf.text is not NULL:
        Py_XINCREF(leaf.text)
        value.held, value.thing = THING, leaf.text
    else:
        set_number(value, leaf.number)


cdef int object_value(Leaf *leaf, Slot *a, Slot *b, Value *value) except -1:
    """Read a column that is a Python object."""
    cdef object held
    if b is NULL:
        held = or_none(a[leaf.column.at].o)
    else:
        held = merged_object(leaf.column, a, b)
    if leaf.kind == V_LAST_N:
        return set_thing(value, [dated[2] for dated in held] if held else None)
    if leaf.kind == V_HISTOGRAM:
        return set_thing(value, [float(n) for n in held] if held else None)
    found = (<object>leaf.function)(held, <object>leaf.constant)
    if leaf.kind == V_TOP_K or found is not None:
        return set_thing(value, found)
    set_default(leaf, value)
    return 0


cdef int leaf_value(
    Leaf *leaf, Slot *a, Slot *b, int64_t newest, int64_t t, double *half_lives, Value *value
) except -1:
    """Work out one value; `b` is the newest tile's columns of a ring, otherwise NULL."""
    cdef Kind kind = leaf.kind
    cdef int at = leaf.column.at if leaf.column is not NULL else 0
    cdef double number
    value.held = NOTHING
    if kind == V_COUNT or kind == V_RATE or kind == V_SUM or kind == V_MEAN:
        total_value(leaf, a, b, value)
    elif kind == V_LEAST or kind == V_MOST:
        extreme_value(leaf, a[at].f, b[at].f if b is not NULL else a[at].f, value)
    elif kind == V_VARIANCE or kind == V_STD:
        spread_value(leaf, &a[at], &b[at] if b is not NULL else NULL, value)
    elif kind == V_DATED:
        dated_value(leaf, &a[at], &b[at] if b is not NULL else NULL, value)
    elif kind == V_DISTINCT:
        number = set_size(&a[at], &b[at] if b is not NULL else NULL)
        set_number(value, leaf.number if leaf.has_default and number == 0 else number)
    elif kind == V_SINCE or kind == V_SINCE_WHERE or kind == V_DECAYED or kind == V_DECAYED_MEAN:
        clocked_value(leaf, a, newest, t, half_lives, value)
    else:
        object_value(leaf, a, b, value)
    return 0


cdef void total_value(Leaf *leaf, Slot *a, Slot *b, Value *value) noexcept:
    """Work out what counts and adds up."""
    cdef int at = leaf.column.at, second
    cdef int64_t count
    cdef double number
    if leaf.kind == V_COUNT or leaf.kind == V_RATE:
        count = a[at].i + (b[at].i if b is not NULL else 0)
        if leaf.has_default and count == 0:
            set_number(value, leaf.number)
        else:
            set_number(value, <double>count if leaf.kind == V_COUNT else <double>count / leaf.scale)
        return
    number = a[at].f if b is NULL else a[at].f + b[at].f
    if leaf.second is not NULL:
        second = leaf.second.at
        count = a[second].i + (b[second].i if b is not NULL else 0)
        if count == 0:
            set_default(leaf, value)
            return
        if leaf.kind == V_MEAN:
            number = number / <double>count
    set_number(value, number)


cdef void extreme_value(Leaf *leaf, double a, double b, Value *value) noexcept:
    cdef double found
    if leaf.kind == V_LEAST:
        found = a if a <= b else b
    else:
        found = a if a >= b else b
    if found == (INFINITY if leaf.kind == V_LEAST else -INFINITY):
        set_default(leaf, value)
    else:
        set_number(value, found)


cdef int spread_value(Leaf *leaf, Slot *a, Slot *b, Value *value) except -1:
    cdef Slot merged[3]
    cdef double variance
    merged[0], merged[1], merged[2] = a[0], a[1], a[2]
    if b is not NULL:
        merge_moments(merged, a, b)
    if merged[0].i < 2:
        set_default(leaf, value)
    else:
        variance = merged[2].f / <double>(merged[0].i - 1)
        set_number(value, variance if leaf.kind == V_VARIANCE else pow(variance, HALF))
    return 0


cdef int dated_value(Leaf *leaf, Slot *a, Slot *b, Value *value) except -1:
    if b is not NULL:
        if a[2].o is NULL:
            a = b
        elif b[2].o is not NULL and dated_before(b, a) == (leaf.column.op == FIRST):
            a = b
    if a[2].o is NULL or a[2].o is <PyObject *>None:
        set_default(leaf, value)
    else:
        set_thing(value, <object>a[2].o)
    return 0


cdef void clocked_value(
    Leaf *leaf, Slot *a, int64_t newest, int64_t t, double *half_lives, Value *value
) noexcept:
    """Work out what changes without events."""
    cdef int at = leaf.column.at if leaf.column is not NULL else 0
    cdef int second = leaf.second.at if leaf.second is not NULL else at
    if leaf.kind == V_SINCE or leaf.kind == V_SINCE_WHERE:
        if leaf.kind == V_SINCE_WHERE:
            newest = a[at].i
        if newest == NEVER_MS:
            set_default(leaf, value)
        else:
            set_number(value, <double>(t - newest) / 1000.0)
    elif leaf.kind == V_DECAYED:
        if leaf.has_default and a[second].f == 0:
            set_number(value, leaf.number)
        else:
            set_number(value, a[at].f * pow(TWO, <double>(newest - t) / half_lives[leaf.decay]))
    elif a[second].f == 0:
        set_default(leaf, value)
    else:
        set_number(value, a[at].f / a[second].f)


cdef int ratio(Value *over, Value *under, Result *result) except -1:
    """Divide, in the place of the dividend; the default if one is missing or the divisor is 0."""
    cdef double a, b
    if over.held != NOTHING and under.held != NOTHING:
        a, b = as_number(over), as_number(under)
        value_release(over)
        value_release(under)
        if b != 0:
            set_number(over, a / b)
            bound(over)
            return 0
    value_release(over)
    value_release(under)
    if result.has_default:
        set_number(over, result.number)
    return 0


cdef double as_number(Value *value) except? -1.0:
    return value.number if value.held == NUMBER else <double>(<object>value.thing)
