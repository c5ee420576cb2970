# What one entity remembers, and what a call on it needs beside.

cdef struct Scratch:
    Happening event
    Slot **tiles      # of every ring; NULL: too late
    Slot **visits     # of every session
    Value *before     # of every leaf
    Value *shown      # of every feature


cdef size_t scratch_size(Plan plan) noexcept:
    return (
        sizeof(Scratch) + sizeof(Field) * plan.n_fields + (sizeof(PyObject *) + sizeof(bint)) * (plan.n_rows + 1)
        + sizeof(double) * plan.n_half_lives + sizeof(Slot *) * (plan.n_groups + plan.n_gaps)
        + sizeof(Value) * (plan.n_leaves + plan.every.n) + 64
    )


cdef Scratch *scratch_take(Plan plan) except NULL:
    """Give zeroed scratch memory: the spare one, or another if that is in use."""
    cdef Scratch *scratch = plan.spare
    cdef char *at
    if scratch is not NULL:
        plan.spare = NULL
        return scratch
    scratch = <Scratch *>calloc(1, plan.scratch_bytes)
    if scratch is NULL:
        raise MemoryError
    at = <char *>scratch + sizeof(Scratch)
    scratch.event.fields = <Field *>at
    at += sizeof(Field) * plan.n_fields
    scratch.before = <Value *>at
    at += sizeof(Value) * plan.n_leaves
    scratch.shown = <Value *>at
    at += sizeof(Value) * plan.every.n
    scratch.event.rows = <PyObject **>at
    at += sizeof(PyObject *) * plan.n_rows
    scratch.event.weights = <double *>at
    at += sizeof(double) * plan.n_half_lives
    scratch.tiles = <Slot **>at
    at += sizeof(Slot *) * plan.n_groups
    scratch.visits = <Slot **>at
    at += sizeof(Slot *) * plan.n_gaps
    scratch.event.holds = <bint *>at
    return scratch


cdef void scratch_give(Plan plan, Scratch *scratch) noexcept:
    """Drop what it owns and keep it for the next call."""
    cdef int i
    for i in range(plan.n_fields):
        Py_XDECREF(scratch.event.fields[i].kept)
        scratch.event.fields[i].kept = scratch.event.fields[i].value = NULL
        scratch.event.fields[i].hashed = False
    for i in range(plan.n_rows):
        Py_XDECREF(scratch.event.rows[i])
        scratch.event.rows[i] = NULL
    if plan.any_before:
        for i in range(plan.n_leaves):
            value_release(&scratch.before[i])
    if plan.spare is NULL:
        plan.spare = scratch
    else:
        free(scratch)


@cython.final
@cython.no_gc
cdef class NativeState:
    """What one entity remembers. Opaque outside `features`; mutable, owned by one task."""

    cdef Plan plan
    cdef int64_t newest_ms
    cdef bint busy
    cdef Slot *totals
    cdef Ring *rings
    cdef Visits *visits

    def __init__(self):
        raise TypeError("a state is made by its engine")

    @property
    def newest(self):
        """Time of the newest event in ms; `NEVER` before the first."""
        return self.newest_ms

    def __sizeof__(self):
        """Bytes of memory without what several states may share."""
        return memory_of(self)

    def __dealloc__(self):
        cdef int i
        if self.totals is NULL:
            return
        slots_release(&self.plan.totals, self.totals)
        for i in range(self.plan.n_groups):
            ring_free(&self.plan.groups[i], &self.rings[i])
        for i in range(self.plan.n_gaps):
            visits_free(&self.plan.gaps[i], &self.visits[i])
        free(self.totals)


cdef size_t memory_of(NativeState state) noexcept:
    cdef Plan plan = state.plan
    cdef size_t n = 64 + plan.state_bytes
    cdef int i
    for i in range(plan.n_groups):
        n += sizeof(Slot) * plan.groups[i].stride * <size_t>state.rings[i].room
    for i in range(plan.n_gaps):
        n += sizeof(Slot) * plan.gaps[i].stride * <size_t>state.visits[i].room
    return n


cdef NativeState state_new(Plan plan):
    cdef NativeState state = NativeState.__new__(NativeState)
    cdef char *at = <char *>malloc(plan.state_bytes + 1)
    cdef Slot *closed
    cdef int i
    if at is NULL:
        raise MemoryError
    state.plan, state.newest_ms = plan, NEVER_MS
    state.totals = <Slot *>at
    at += sizeof(Slot) * plan.totals.width
    state.rings = <Ring *>at
    at += sizeof(Ring) * plan.n_groups
    state.visits = <Visits *>at
    at += sizeof(Visits) * plan.n_gaps
    closed = <Slot *>at
    slots_zero(&plan.totals, state.totals)
    for i in range(plan.n_groups):
        ring_init(&plan.groups[i], &state.rings[i], closed)
        closed += plan.groups[i].n * plan.groups[i].stride
    memset(state.visits, 0, sizeof(Visits) * plan.n_gaps)
    return state


cdef Scratch *state_begin(Plan plan, NativeState state) except NULL:
    """Take a state for one call."""
    cdef Scratch *scratch
    if state.plan is not plan:
        raise ValueError("the state belongs to another view")
    if state.busy:
        raise RuntimeError("the state is being used by another call")
    scratch = scratch_take(plan)
    state.busy = True
    return scratch


cdef void state_end(Plan plan, NativeState state, Scratch *scratch) noexcept:
    state.busy = False
    scratch_give(plan, scratch)
