# Sessions in C: `sessions` step by step. A session is its first event, its last event, and then its columns.
#
# Laws: sessions lie in one array, ascending. A pointer to one holds until the next `sessions_place`.

cdef struct Gap:
    int64_t gap_ms
    int64_t grace_ms
    int64_t keep_ms
    int stride
    Layout layout

cdef struct Visits:
    int n
    int room
    Slot *items


cdef inline Slot *visit(Gap *gap, Visits *visits, int place) noexcept:
    return &visits.items[<size_t>place * gap.stride]


cdef void visits_free(Gap *gap, Visits *visits) noexcept:
    cdef int i
    for i in range(visits.n):
        slots_release(&gap.layout, visit(gap, visits, i) + 2)
    free(visits.items)
    visits.items = NULL


cdef Slot *visits_open(Gap *gap, Visits *visits, int place) except NULL:
    """Make room for one more before the session at this place; its columns own nothing."""
    cdef Slot *item
    cdef int room
    if visits.n == visits.room:
        room = visits.room + (visits.room >> 1) + 1
        item = <Slot *>realloc(visits.items, sizeof(Slot) * gap.stride * room)
        if item is NULL:
            raise MemoryError
        visits.items, visits.room = item, room
    item = visit(gap, visits, place)
    memmove(item + gap.stride, item, sizeof(Slot) * gap.stride * (visits.n - place))
    visits.n += 1
    slots_zero(&gap.layout, item + 2)
    return item


cdef void visits_drop(Gap *gap, Visits *visits, int64_t newest_ms) noexcept:
    """Forget what no event within the grace can touch."""
    cdef int64_t floor = newest_ms - gap.keep_ms
    cdef int i, kept = 0
    cdef Slot *item
    for i in range(visits.n):
        item = visit(gap, visits, i)
        if item[1].i < floor:
            slots_release(&gap.layout, item + 2)
        else:
            if kept < i:
                memcpy(visit(gap, visits, kept), item, sizeof(Slot) * gap.stride)
            kept += 1
    visits.n = kept


cdef Slot *visits_place(Gap *gap, Visits *visits, int64_t at) except? NULL:
    """Give the columns that an event is added to; NULL if it is too late."""
    cdef Slot *newest
    if visits.n:
        newest = visit(gap, visits, visits.n - 1)
        if newest[0].i <= at <= newest[1].i + gap.gap_ms:
            if at > newest[1].i:
                newest[1].i = at
                if visits.items[1].i < at - gap.keep_ms:
                    visits_drop(gap, visits, at)
            return visit(gap, visits, visits.n - 1) + 2
        if at < newest[1].i - gap.grace_ms:
            return NULL
    return visits_insert(gap, visits, at)


cdef Slot *visits_insert(Gap *gap, Visits *visits, int64_t at) except? NULL:
    """Join the sessions that an event touches, with room for it, or open one."""
    cdef int i = 0, place
    cdef int64_t start = at, end = at
    cdef Slot *item
    cdef Slot *joined = NULL
    cdef Slot *columns = <Slot *>malloc(sizeof(Slot) * gap.stride)
    if columns is NULL:
        raise MemoryError
    slots_zero(&gap.layout, columns)
    try:
        while i < visits.n:
            item = visit(gap, visits, i)
            if item[0].i <= end + gap.gap_ms and start <= item[1].i + gap.gap_ms:
                if item[0].i <= start:
                    merge_all(&gap.layout, columns, item + 2, columns)
                else:
                    merge_all(&gap.layout, columns, columns, item + 2)
                start, end = min(start, item[0].i), max(end, item[1].i)
                slots_release(&gap.layout, item + 2)
                visits.n -= 1
                memmove(item, item + gap.stride, sizeof(Slot) * gap.stride * (visits.n - i))
            else:
                i += 1
        place = 0
        while place < visits.n and visit(gap, visits, place)[0].i <= start:
            place += 1
        item = visits_open(gap, visits, place)
        item[0].i, item[1].i = start, end
        memcpy(item + 2, columns, sizeof(Slot) * gap.layout.width)
        slots_zero(&gap.layout, columns)
    finally:
        slots_release(&gap.layout, columns)
        free(columns)
    visits_drop(gap, visits, visit(gap, visits, visits.n - 1)[1].i)
    for i in range(visits.n):
        if visit(gap, visits, i)[0].i == start:
            joined = visit(gap, visits, i) + 2
    return joined


cdef inline Slot *visits_current(Gap *gap, Visits *visits, int64_t at) noexcept:
    """Give the columns of the session as of `at`, which is not before the newest event."""
    cdef Slot *newest
    if visits.n:
        newest = visit(gap, visits, visits.n - 1)
        if at <= newest[1].i + gap.gap_ms:
            return newest + 2
    return gap.layout.zero


cdef int64_t visits_until_ms(Gap *gap, Visits *visits, int64_t at) noexcept:
    """When the session ends if nothing comes; ALWAYS if there is none as of `at`."""
    cdef Slot *newest
    if visits.n == 0:
        return ALWAYS
    newest = visit(gap, visits, visits.n - 1)
    return ALWAYS if at > newest[1].i + gap.gap_ms else newest[1].i + gap.gap_ms + 1
