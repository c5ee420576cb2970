# Values of a state.

cdef int read_leaf(Plan plan, NativeState state, Leaf *leaf, int64_t t, Value *value) except -1:
    cdef Slot *a = NULL
    cdef Slot *b = NULL
    cdef Group *group
    cdef Ring *ring
    if leaf.where == IN_RING:
        group, ring = &plan.groups[leaf.g], &state.rings[leaf.g]
        a = ring_closed(group, ring, leaf.k)
        b = ring_tile(group, ring, ring.n - 1) + 1 if a[0].i else group.layout.zero
        a += 1
    elif leaf.where == IN_TOTALS:
        a = state.totals
    elif leaf.where == IN_VISITS:
        a = visits_current(&plan.gaps[leaf.g], &state.visits[leaf.g], t)
    return leaf_value(leaf, a, b, state.newest_ms, t, plan.half_lives, value)


cdef int read_part(
    Plan plan, NativeState state, int place, int64_t t, Scratch *scratch, Value *value
) except -1:
    """Read a leaf; with `scratch` for the event itself: what it was before it, or of its own row."""
    cdef Leaf *leaf = &plan.leaves[place]
    if scratch is not NULL:
        if leaf.before:
            value[0] = scratch.before[place]
            if value.held == THING:
                Py_XINCREF(value.thing)
            return 0
        if leaf.row >= 0:
            value.held = NOTHING
            if leaf.condition >= 0 and not scratch.event.holds[leaf.condition]:
                set_default(leaf, value)
            elif scratch.event.rows[leaf.row] is not <PyObject *>None:
                set_thing(value, <object>scratch.event.rows[leaf.row])
            elif leaf.has_default:
                set_default(leaf, value)
            bound(value)
            return 0
    read_leaf(plan, state, leaf, t, value)
    if leaf.computed:
        bound(value)
    return 0


cdef int seek(Plan plan, NativeState state, Reading *reading, int64_t t) except -1:
    cdef int i, g
    for i in range(reading.n_groups):
        g = reading.groups[i]
        ring_seek(&plan.groups[g], &state.rings[g], floor_div(t, plan.groups[g].hop_ms))
    return 0


cdef int read_before(Plan plan, NativeState state, Scratch *scratch, int64_t at) except -1:
    """Note what is read before an event of the view's own source."""
    cdef int i, place
    cdef int64_t t = max(at, state.newest_ms)
    seek(plan, state, &plan.before, t)
    for i in range(plan.before.n):
        place = plan.before.results[i].leaf
        value_release(&scratch.before[place])
        read_leaf(plan, state, &plan.leaves[place], t, &scratch.before[place])
    return 0


cdef int read_result(
    Plan plan, NativeState state, Result *result, int64_t t, Scratch *scratch, Value *value
) except -1:
    """Read one feature; the rings it needs have been sought."""
    cdef Value under
    value.held = NOTHING
    read_part(plan, state, result.leaf, t, scratch, value)
    if result.under >= 0:
        under.held = NOTHING
        try:
            read_part(plan, state, result.under, t, scratch, &under)
            ratio(value, &under, result)
        except BaseException:
            value_release(value)
            raise
    return 0


cdef list read(Plan plan, NativeState state, Reading *reading, int64_t t, Scratch *scratch):
    """Give the values of a reading as of `t`, which is not before the newest event."""
    cdef list found = []
    cdef Value value
    cdef int i
    seek(plan, state, reading, t)
    for i in range(reading.n):
        read_result(plan, state, &reading.results[i], t, scratch, &value)
        found.append(value_object(&value))
        value_release(&value)
    return found


cdef int64_t until_ms(Plan plan, NativeState state, int64_t at) except? -1:
    """When a windowed value next changes as of `at`; ALWAYS if it never does."""
    cdef int64_t until = ALWAYS, end
    cdef int i
    for i in range(plan.n_groups):
        end = ring_until_ms(&plan.groups[i], &state.rings[i], floor_div(at, plan.groups[i].hop_ms))
        until = min(until, end)
    for i in range(plan.n_gaps):
        end = visits_until_ms(&plan.gaps[i], &state.visits[i], at)
        until = min(until, end)
    return until
