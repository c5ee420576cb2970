# Suffixes and prefixes of blocks of tiles, in C: `blocks` step by step.
#
# Laws: a block is a cache of its ring's tiles: dropped and filled anew it gives the same bits.

cdef void blocks_drop(Group *group, Ring *ring) noexcept:
    cdef int k
    if ring.blocks is NULL:
        return
    for k in range(group.n):
        block_empty(group, &ring.blocks[k])
        free(ring.blocks[k].suffixes)
        if ring.blocks[k].prefix is not NULL:
            free(ring.blocks[k].prefix)
    free(ring.blocks)
    ring.blocks = NULL


cdef void block_empty(Group *group, Block *block) noexcept:
    """Forget what it merged; its memory stays."""
    cdef int i
    for i in range(block.n):
        slots_release(&group.layout, &block.suffixes[<size_t>i * group.stride + 1])
    block.n = 0
    if block.prefix is not NULL:
        slots_release(&group.layout, block.prefix)
        slots_zero(&group.layout, block.prefix)


cdef int blocks_make(Group *group, Ring *ring) except -1:
    cdef int k
    cdef Block *block
    ring.blocks = <Block *>calloc(group.n, sizeof(Block))
    if ring.blocks is NULL:
        raise MemoryError
    for k in range(group.n):
        block = &ring.blocks[k]
        block.start = block.top = block.floor = NOWHERE
        block.prefix = <Slot *>malloc(sizeof(Slot) * group.stride)
        if block.prefix is NULL:
            blocks_drop(group, ring)
            raise MemoryError
        slots_zero(&group.layout, block.prefix)
    return 0


cdef int block_close(Group *group, Block *block, int k, Slot *tile, int64_t top) except -1:
    """Take one more tile into the prefix."""
    merge_needed(&group.windows[k], block.prefix, block.prefix, tile + 1)
    block.top = top
    if not block.closed:
        block.closed, block.first = True, tile[0].i
    return 0


cdef int block_fill(Group *group, Ring *ring, Block *block, int k) except -1:
    """Merge everything anew."""
    cdef int i
    cdef Slot *tile
    cdef Slot *suffix
    cdef Slot *merged = group.layout.zero
    block_empty(group, block)
    block.closed = False
    for i in range(ring.n):
        tile = ring_tile(group, ring, i)
        if block.start <= tile[0].i < block.top:
            block_close(group, block, k, tile, block.top)
    for i in range(ring.n - 1, -1, -1):
        tile = ring_tile(group, ring, i)
        if not block.floor <= tile[0].i < block.start:
            continue
        if block.n == block.room:
            block_grow(group, block)
            if block.n:
                merged = &block.suffixes[<size_t>(block.n - 1) * group.stride + 1]
        suffix = &block.suffixes[<size_t>block.n * group.stride]
        suffix[0].i = tile[0].i
        slots_zero(&group.layout, suffix + 1)
        block.n += 1
        merge_needed(&group.windows[k], suffix + 1, tile + 1, merged)
        merged = suffix + 1
    return 0


cdef int block_grow(Group *group, Block *block) except -1:
    cdef int room = block.room + (block.room >> 1) + 8
    cdef Slot *more = <Slot *>realloc(block.suffixes, sizeof(Slot) * group.stride * room)
    if more is NULL:
        raise MemoryError
    block.suffixes, block.room = more, room
    return 0


cdef int64_t closed_by_blocks(Group *group, Ring *ring, int k, int64_t floor, int64_t before) except? -1:
    """Write the merge of all tiles of window k but the newest, and give the oldest tile."""
    cdef int64_t top = ring.top, span = group.windows[k].span
    cdef Block *block = &ring.blocks[k]
    cdef bint known = block.top == before and block.floor <= floor
    cdef int64_t start = floor_div(top, span + 1) * (span + 1), index
    cdef Slot *closed = ring_closed(group, ring, k) + 1
    cdef Slot *suffix
    cdef bint lost = False
    cdef int i
    if floor > start:  # nothing came for long; once the newest block loses a tile, it is a suffix itself
        if known and block.start == start:
            lost = block.closed and block.first < floor
        elif known and block.start == top:
            lost = True
        else:
            for i in range(ring.n):
                index = ring_tile(group, ring, i)[0].i
                if start <= index < floor:
                    lost = True
                    break
        if lost:
            start = top
    if known and block.start == start:
        if before < top:
            block_close(group, block, k, ring_tile(group, ring, ring.n - 2), top)
    else:
        block.start, block.top, block.floor = start, top, floor
        block_fill(group, ring, block, k)
    block.floor = floor
    while block.n and block.suffixes[<size_t>(block.n - 1) * group.stride].i < floor:
        block.n -= 1
        slots_release(&group.layout, &block.suffixes[<size_t>block.n * group.stride + 1])
    if block.n == 0:
        slots_release(&group.layout, closed)
        slots_copy(&group.layout, closed, block.prefix)
        return block.first if block.closed else top
    suffix = &block.suffixes[<size_t>(block.n - 1) * group.stride]
    merge_needed(&group.windows[k], closed, suffix + 1, block.prefix)
    return suffix[0].i
