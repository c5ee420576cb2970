# A state to bytes and back: `[mark, newest, totals, [[indexes], [tiles]] per ring, [[start, end, columns]] per session]`.

cdef int put_plain(Layout *layout, Slot *slots, Writer *w) except -1:
    """Write columns that own nothing."""
    cdef int i
    cdef char *to
    cdef Slot *slot
    if not room_for(w, 9 + 30 * <size_t>layout.n):
        raise MemoryError
    to = write_array(w.p + w.n, layout.n)
    for i in range(layout.n):
        slot = &slots[layout.cols[i].at]
        if layout.cols[i].op == COUNT or layout.cols[i].op == NEWEST:
            to = write_int(to, slot.i)
        elif layout.cols[i].op != MOMENTS:
            to = write_double(to, slot.f)
        elif slot.i == 0:
            to = write(to, 0xC0, 0, 0)
        else:
            to = write_array(to, 3)
            to = write_int(to, slot[0].i)
            to = write_double(to, slot[1].f)
            to = write_double(to, slot[2].f)
    w.n = to - w.p
    return 0


cdef int put_columns(Layout *layout, Slot *slots, Writer *w) except -1:
    cdef int i
    cdef Col *col
    cdef Slot *slot
    cdef Seen one
    if layout.plain:
        return put_plain(layout, slots, w)
    put_array(w, layout.n)
    for i in range(layout.n):
        col = &layout.cols[i]
        slot = &slots[col.at]
        if col.op == COUNT or col.op == NEWEST:
            put_int(w, slot.i)
        elif col.op == SUM or col.op == LEAST or col.op == MOST or col.op == WEIGHT or col.op == WEIGHTED:
            put_double(w, slot.f)
        elif col.op == MOMENTS:
            if slot.i == 0:
                put(w, 0xC0, 0, 0)
            else:
                put_array(w, 3)
                put_int(w, slot[0].i)
                put_double(w, slot[1].f)
                put_double(w, slot[2].f)
        elif col.op == DISTINCT:
            put_seen(w, set_of(slot, &one))
        elif col.op == OBJECT or col.op == DATED_OBJECT:
            pack = OPS[<object>col.name].pack
            value = or_none(slot.o)
            put_packed(w, value if pack is None else pack(value))
        elif slot[2].o is NULL:
            put(w, 0xC0, 0, 0)
        else:
            put_array(w, 3)
            put_int(w, slot[0].i)
            put_int(w, slot[1].i)
            put_object(w, <object>slot[2].o)
    return 0


cdef void put_seen(Writer *w, Seen *seen) noexcept:
    cdef int i
    cdef char *to
    if seen is NULL:
        put(w, 0xC0, 0, 0)
    elif seen.n < 0:
        put(w, 0xC5, M, 2)
        put_bytes(w, <const char *>seen.hashes, M)
    else:
        if room_for(w, 9 + 9 * <size_t>seen.n):
            to = write_array(w.p + w.n, seen.n)
            for i in range(seen.n):
                to = write_unsigned(to, seen.hashes[i])
            w.n = to - w.p


cdef int put_state(Plan plan, NativeState state, Writer *w) except -1:
    cdef int i, k
    cdef Ring *ring
    cdef Group *group
    cdef Slot *item
    put_array(w, 5)
    put_unsigned(w, plan.mark)
    put_int(w, state.newest_ms)
    put_columns(&plan.totals, state.totals, w)
    put_array(w, plan.n_groups)
    for i in range(plan.n_groups):
        group, ring = &plan.groups[i], &state.rings[i]
        put_array(w, 2)
        put_array(w, ring.n)
        for k in range(ring.n):
            put_int(w, ring_tile(group, ring, k)[0].i)
        put_array(w, ring.n)
        for k in range(ring.n):
            put_columns(&group.layout, ring_tile(group, ring, k) + 1, w)
    put_array(w, plan.n_gaps)
    for i in range(plan.n_gaps):
        put_array(w, state.visits[i].n)
        for k in range(state.visits[i].n):
            item = visit(&plan.gaps[i], &state.visits[i], k)
            put_array(w, 3)
            put_int(w, item[0].i)
            put_int(w, item[1].i)
            put_columns(&plan.gaps[i].layout, item + 2, w)
    return 0


cdef int get_columns(Layout *layout, Slot *slots, Reader *r) except -1:
    """Read columns over empty ones."""
    cdef int i
    cdef Col *col
    cdef Slot *slot
    get_exactly(r, layout.n)
    for i in range(layout.n):
        col = &layout.cols[i]
        slot = &slots[col.at]
        if col.op == COUNT or col.op == NEWEST:
            slot.i = get_time(r)
        elif col.op == SUM or col.op == LEAST or col.op == MOST or col.op == WEIGHT or col.op == WEIGHTED:
            slot.f = get_double(r)
        elif get_nil(r):
            continue
        elif col.op == MOMENTS:
            get_exactly(r, 3)
            slot[0].i = get_time(r)
            slot[1].f = get_double(r)
            slot[2].f = get_double(r)
            if slot[0].i < 1:
                raise corrupt("a count is not positive")
        elif col.op == DISTINCT:
            get_seen(r, slot)
        elif col.op == OBJECT or col.op == DATED_OBJECT:
            keep_object(&slot.o, checked(<object>col.name, get_object(r), <object>col.constant))
        else:
            get_exactly(r, 3)
            slot[0].i = get_time(r)
            slot[1].i = get_int(r)
            value = get_object(r)
            if not (isinstance(value, (float, str)) or (value is None and col.op == ROW)):
                raise corrupt("a dated value is neither a number nor text")
            Py_INCREF(value)
            slot[2].o = <PyObject *>value
    return 0


cdef int get_seen(Reader *r, Slot *slot) except -1:
    cdef const uint8_t *p
    cdef Py_ssize_t n, i
    cdef Seen *seen
    if r.p < r.end and r.p[0] == 0xC5:
        get(r, 3 + M, &p)
        if big_endian(p + 1, 2) != M:
            raise corrupt("registers of another size")
        for i in range(M):
            if p[3 + i] > Q + 1:
                raise corrupt("a register holds no rank")
        seen = slot[0].seen = seen_registers()
        memcpy(seen.hashes, p + 3, M)
        return 0
    n = get_array(r)
    if not 1 <= n <= EXACT:
        raise corrupt("a set of another size")
    if n == 1:
        return set_add(slot, get_hash(r))
    seen = slot[0].seen = seen_new(<int>n)
    for i in range(n):
        seen.hashes[i] = get_hash(r)
        if i > 0 and seen.hashes[i] <= seen.hashes[i - 1]:
            raise corrupt("a set is not in order")
    seen.n = <int32_t>n
    return 0


def checked(str op, data, constant):
    """Give what `aggregates` works on for a decoded column; raises if it is none."""
    if op == "histogram":
        good = type(data) is list and len(data) == len(constant) + 1 and all(type(n) is int for n in data)
    elif op == "last_n":
        good = type(data) is list and 1 <= len(data) <= constant and all(
            type(one) is list and len(one) == 3 and type(one[0]) is int and type(one[1]) is int
            and type(one[2]) in (float, str)
            for one in data
        )
    else:
        good = type(data) is list and len(data) > 0 and all(
            type(one) is list and len(one) == 2 and type(one[1]) is int and one[1] > 0
            and (is_bucket(one[0]) if op == "buckets" else type(one[0]) in (float, str))
            for one in data
        )
    if not good:
        raise corrupt(f"a {op} column has another form")
    unpack = OPS[op].unpack
    return data if unpack is None else unpack(data)


cdef int get_ring(Group *group, Ring *ring, Reader *r) except -1:
    cdef Py_ssize_t n, k
    cdef int64_t index
    get_exactly(r, 2)
    n = get_array(r)
    if n > group.horizon + 1:
        raise corrupt("more tiles than any window has")
    if n:
        ring.tiles = <Slot *>malloc(sizeof(Slot) * group.stride * n)
        if ring.tiles is NULL:
            raise MemoryError
        ring.room = <int>n
    for k in range(n):
        index = get_time(r)
        if k > 0 and index <= ring.top:
            raise corrupt("tiles are not in order")
        ring_insert(group, ring, ring.n, index)
        ring.top = index
    get_exactly(r, n)
    for k in range(n):
        get_columns(&group.layout, ring_tile(group, ring, <int>k) + 1, r)
    if n:
        ring.since, ring.limit = ALWAYS, NOWHERE
    return 0


cdef int get_visits(Gap *gap, Visits *visits, Reader *r) except -1:
    cdef Py_ssize_t n = get_array(r), k
    cdef Slot *item
    cdef int64_t start, end, before = NOWHERE
    for k in range(n):
        get_exactly(r, 3)
        start, end = get_time(r), get_time(r)
        if start < before or end < start:
            raise corrupt("sessions are not in order")
        before = end
        item = visits_open(gap, visits, visits.n)
        item[0].i, item[1].i = start, end
        get_columns(&gap.layout, item + 2, r)
    return 0


cdef NativeState get_state(Plan plan, bytes data):
    cdef Reader r
    cdef NativeState state = state_new(plan)
    cdef uint64_t mark
    cdef bint negative
    cdef int i
    r.p = <const uint8_t *>PyBytes_AS_STRING(data)
    r.end = r.p + PyBytes_GET_SIZE(data)
    get_exactly(&r, 5)
    get_integer(&r, &negative, &mark)
    if negative or mark != plan.mark:
        raise StateMismatch("stored state belongs to another definition of this view")
    state.newest_ms = get_time(&r)
    get_columns(&plan.totals, state.totals, &r)
    get_exactly(&r, plan.n_groups)
    for i in range(plan.n_groups):
        get_ring(&plan.groups[i], &state.rings[i], &r)
    get_exactly(&r, plan.n_gaps)
    for i in range(plan.n_gaps):
        get_visits(&plan.gaps[i], &state.visits[i], &r)
    if r.p != r.end:
        raise corrupt("something follows the state")
    return state
