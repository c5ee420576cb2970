# An event into a state.

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(object function, PyObject **arguments, size_t n, PyObject *names) except NULL
    PyObject *dict_get "PyDict_GetItemWithError" (object event, object name) except? NULL
    bint PyDict_CheckExact(object event)
    bint PyFloat_CheckExact(object value)
    bint PyLong_CheckExact(object value)

cdef enum:
    MOST_ARGUMENTS = 16


cdef int observe(Plan plan, Scratch *scratch, int64_t at, int64_t tie, event) except -1:
    """Take an event's fields, and work out its expressions. Nothing of the state is touched yet."""
    cdef int i
    cdef Field *field
    cdef PyObject *found
    cdef bint plain = PyDict_CheckExact(event)
    scratch.event.at, scratch.event.tie = at, tie
    for i in range(plan.n_fields):
        field = &scratch.event.fields[i]
        if plain:
            found = dict_get(event, <object>plan.field_names[i])
            Py_XINCREF(found)
        else:
            value = event.get(plan.field_names[i])
            found = <PyObject *>value
            Py_XINCREF(found)
        field.null = found is NULL or found is <PyObject *>None
        if field.null:
            Py_XDECREF(found)
        elif plan.field_numbers[i]:
            field.kept = found
            field.number = number_of(<object>found) + 0.0
            field.kept = NULL
            Py_XDECREF(found)
        else:
            field.kept = field.value = found
    for i in range(plan.n_rows):
        work_out(plan, scratch, i)
    return 0


cdef double number_of(object value) except? -1.0:
    if PyFloat_CheckExact(value):
        return PyFloat_AS_DOUBLE(value)
    if PyLong_CheckExact(value):
        return PyLong_AsDouble(value)
    return <double>float(value)


cdef int work_out(Plan plan, Scratch *scratch, int i) except -1:
    """Call one expression; None if a field that it reads is null."""
    cdef PyObject *arguments[MOST_ARGUMENTS]
    cdef PyObject *result
    cdef int *places = plan.arguments[i]
    cdef int k
    for k in range(places[0]):
        if scratch.event.fields[places[1 + k]].null:
            Py_XINCREF(<PyObject *>None)
            scratch.event.rows[i] = <PyObject *>None
            scratch.event.holds[i] = False
            return 0
    function = plan.functions[i]
    if places[0] <= MOST_ARGUMENTS:
        for k in range(places[0]):
            field_object(&scratch.event.fields[places[1 + k]])
            arguments[k] = scratch.event.fields[places[1 + k]].value
        result = PyObject_Vectorcall(function, arguments, places[0], NULL)
    else:
        value = function(*[field_object(&scratch.event.fields[places[1 + k]]) for k in range(places[0])])
        result = <PyObject *>value
        Py_XINCREF(result)
    scratch.event.rows[i] = result
    scratch.event.holds[i] = PyObject_IsTrue(<object>result)
    return 0


cdef int fold(Plan plan, NativeState state, Scratch *scratch) except -1:
    """Add the event to every column."""
    cdef Happening *event = &scratch.event
    cdef int64_t at = event.at
    cdef int i
    decay(plan, state, event)
    for i in range(plan.n_groups):
        scratch.tiles[i] = ring_place(&plan.groups[i], &state.rings[i], floor_div(at, plan.groups[i].hop_ms))
    for i in range(plan.n_gaps):
        scratch.visits[i] = visits_place(&plan.gaps[i], &state.visits[i], at)
    add_event(&plan.totals, state.totals, event)
    for i in range(plan.n_groups):
        if scratch.tiles[i] is not NULL:
            add_event(&plan.groups[i].layout, scratch.tiles[i], event)
    for i in range(plan.n_gaps):
        if scratch.visits[i] is not NULL:
            add_event(&plan.gaps[i].layout, scratch.visits[i], event)
    return 0


cdef int decay(Plan plan, NativeState state, Happening *event) except -1:
    """Bring what decays to the newest event; `weights` is what this one counts."""
    cdef int i, k
    cdef double factor
    cdef Col *col
    for i in range(plan.n_half_lives):
        if event.at > state.newest_ms:
            factor = pow(TWO, <double>(state.newest_ms - event.at) / plan.half_lives[i])
            for k in range(plan.totals.n):
                col = &plan.totals.cols[k]
                if col.decay == i:
                    state.totals[col.at].f *= factor
            event.weights[i] = 1.0
        else:
            event.weights[i] = pow(TWO, <double>(event.at - state.newest_ms) / plan.half_lives[i])
    return 0
