# Windows over tiles, in C: `windows` and `blocks` step by step, so that every float is added in the same order.
#
# Laws: `tiles` is the whole state of a ring, in one array, ascending by index; a tile is its index and then its columns.
# All else is a cache of it. A pointer to a tile holds until the next `ring_place`.

cdef enum:
    FEW = 16

cdef int64_t NOWHERE = -(<int64_t>1 << 62)
cdef int64_t ALWAYS = <int64_t>1 << 62

cdef struct Window:
    int64_t span
    int n             # columns that it needs
    Col **needs

cdef struct Group:
    int64_t hop_ms
    int64_t horizon
    int64_t nearest
    int n             # windows
    int stride        # slots of a tile
    Layout layout
    Window *windows

cdef struct Block:
    int64_t start
    int64_t top
    int64_t floor
    int64_t first
    bint closed       # `first` is set
    int n             # suffixes, the oldest last; each as a tile is
    int room
    Slot *suffixes
    Slot *prefix

cdef struct Ring:
    int64_t top
    int64_t since
    int64_t limit
    int first         # of the tiles, in `tiles`
    int n
    int room
    Slot *tiles
    Slot *closed      # for every window: whether the newest tile is inside, and its merged closed tiles
    Block *blocks     # one for every window, or NULL


cdef inline int64_t floor_div(int64_t a, int64_t b) noexcept:
    cdef int64_t quotient = a / b
    return quotient - 1 if a % b != 0 and a < 0 else quotient


cdef inline Slot *ring_tile(Group *group, Ring *ring, int place) noexcept:
    return &ring.tiles[<size_t>(ring.first + place) * group.stride]


cdef inline Slot *ring_closed(Group *group, Ring *ring, int k) noexcept:
    return &ring.closed[<size_t>k * group.stride]


cdef void ring_init(Group *group, Ring *ring, Slot *closed) noexcept:
    """Make an empty ring that keeps its closed tiles there."""
    cdef int k
    memset(ring, 0, sizeof(Ring))
    ring.top, ring.since, ring.limit = NOWHERE, NOWHERE, ALWAYS
    ring.closed = closed
    for k in range(group.n):
        closed[k * group.stride].i = 0
        slots_zero(&group.layout, &closed[k * group.stride + 1])


cdef void ring_free(Group *group, Ring *ring) noexcept:
    cdef int i
    blocks_drop(group, ring)
    for i in range(ring.n):
        slots_release(&group.layout, ring_tile(group, ring, i) + 1)
    for i in range(group.n):
        slots_release(&group.layout, ring_closed(group, ring, i) + 1)
    free(ring.tiles)
    ring.tiles = NULL


cdef void ring_drop(Group *group, Ring *ring, int n) noexcept:
    """Drop the oldest tiles."""
    cdef int i
    for i in range(n):
        slots_release(&group.layout, ring_tile(group, ring, i) + 1)
    ring.first += n
    ring.n -= n


cdef Slot *ring_insert(Group *group, Ring *ring, int place, int64_t index) except NULL:
    """Open an empty tile before the one at this place."""
    cdef Slot *tile
    cdef int room
    cdef size_t size = sizeof(Slot) * group.stride
    if ring.first + ring.n == ring.room:
        if ring.first > 0 and ring.first >= ring.room // 4:
            memmove(ring.tiles, ring_tile(group, ring, 0), size * ring.n)
            ring.first = 0
        else:
            room = ring.room + (ring.room >> 1) + 2
            tile = <Slot *>realloc(ring.tiles, size * room)
            if tile is NULL:
                raise MemoryError
            ring.tiles, ring.room = tile, room
    tile = ring_tile(group, ring, place)
    if place < ring.n:
        memmove(tile + group.stride, tile, size * (ring.n - place))
    ring.n += 1
    tile[0].i = index
    slots_zero(&group.layout, tile + 1)
    return tile


cdef Slot *ring_place(Group *group, Ring *ring, int64_t pos) except? NULL:
    """Give the columns that an event at `pos` is added to; NULL if no window can see it."""
    cdef Slot *tile
    cdef Slot *closed
    cdef int64_t floor, before
    cdef int k, old = 0
    if pos <= ring.top:
        return ring_tile(group, ring, ring.n - 1) + 1 if pos == ring.top else ring_late(group, ring, pos)
    floor = pos - group.horizon
    if ring.top < floor:  # all that was has left
        ring_drop(group, ring, ring.n)
        ring.first = 0
        tile = ring_insert(group, ring, 0, pos)
        blocks_drop(group, ring)
        for k in range(group.n):
            closed = ring_closed(group, ring, k)
            slots_release(&group.layout, closed + 1)
            slots_zero(&group.layout, closed + 1)
            closed[0].i = 1
        ring.top, ring.since, ring.limit = pos, pos, pos + group.nearest + 1
        return tile + 1
    while ring_tile(group, ring, old)[0].i < floor:
        old += 1
    if old:
        ring_drop(group, ring, old)
    ring_insert(group, ring, ring.n, pos)
    if ring.n <= FEW and ring.blocks is NULL and ring.since <= pos < ring.limit:
        for k in range(group.n):
            closed = ring_closed(group, ring, k)
            if closed[0].i:
                merge_needed(&group.windows[k], closed + 1, closed + 1, ring_tile(group, ring, ring.n - 2) + 1)
            closed[0].i = 1
        if pos + group.nearest < ring.limit:
            ring.limit = pos + group.nearest + 1
        ring.top = pos
    else:
        before, ring.top = ring.top, pos
        ring_renew(group, ring, pos, before)
    return ring_tile(group, ring, ring.n - 1) + 1


cdef int merge_needed(Window *window, Slot *to, Slot *a, Slot *b) except -1:
    """Merge the columns that a window needs."""
    cdef int i
    for i in range(window.n):
        merge_col(window.needs[i], to, a, b)
    return 0


cdef Slot *ring_late(Group *group, Ring *ring, int64_t pos) except? NULL:
    """Give an older tile, and forget the caches that it is part of."""
    cdef int place = ring.n
    cdef Slot *tile = NULL
    if pos < ring.top - group.horizon:
        return NULL
    while place > 0 and ring_tile(group, ring, place - 1)[0].i >= pos:
        place -= 1
    tile = ring_tile(group, ring, place)
    if tile[0].i != pos:  # it is not the newest, so there is one at this place
        tile = ring_insert(group, ring, place, pos)
    blocks_drop(group, ring)
    ring.since, ring.limit = ALWAYS, NOWHERE
    return tile + 1


cdef inline int ring_seek(Group *group, Ring *ring, int64_t pos) except -1:
    """Make the caches those of a moment in tile `pos`, which is not before the newest tile."""
    if not ring.since <= pos < ring.limit:
        ring_renew(group, ring, pos, ring.top)
    return 0


cdef int ring_renew(Group *group, Ring *ring, int64_t pos, int64_t before) except -1:
    """Fill the caches as of `pos`; `before` is the newest tile that a block of theirs may end with."""
    cdef int k, i
    cdef int64_t floor, oldest, leaves = ALWAYS
    cdef Slot *closed
    cdef Slot *tile
    cdef bint few = ring.n <= FEW
    if few:
        blocks_drop(group, ring)
    elif ring.blocks is NULL:
        blocks_make(group, ring)
    for k in range(group.n):
        closed = ring_closed(group, ring, k)
        floor = pos - group.windows[k].span
        if few or ring.top < floor:
            slots_release(&group.layout, closed + 1)
            slots_zero(&group.layout, closed + 1)
        closed[0].i = ring.top >= floor
        if ring.top < floor:
            continue
        if few:
            oldest = ring.top
            for i in range(ring.n - 1):
                tile = ring_tile(group, ring, i)
                if tile[0].i >= floor:
                    merge_needed(&group.windows[k], closed + 1, closed + 1, tile + 1)
                    if tile[0].i < oldest:
                        oldest = tile[0].i
        else:
            oldest = closed_by_blocks(group, ring, k, floor, before)
        if oldest + group.windows[k].span < leaves:
            leaves = oldest + group.windows[k].span
    ring.since = pos
    ring.limit = leaves + 1 if leaves < ALWAYS else ALWAYS
    return 0


cdef int64_t ring_until_ms(Group *group, Ring *ring, int64_t pos) except? -1:
    """When the next tile leaves a window as of `pos`, in ms; ALWAYS if all windows are empty."""
    ring_seek(group, ring, pos)
    return ALWAYS if ring.limit == ALWAYS else ring.limit * group.hop_ms
