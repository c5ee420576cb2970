# A set of hashes in its two slots: nothing, one hash where the second slot is, or a `Seen`.
#
# Laws: most tiles have seen one value or two, so the first costs no memory and no cache miss of its own. ALONE is never
# counted and never changed.

cdef Seen alone
cdef Seen *ALONE = &alone


cdef inline Seen *set_of(Slot *slot, Seen *one) noexcept:
    """Give the set, made of the hash alone in `one` if need be; NULL if it is empty."""
    if slot[0].seen is not ALONE:
        return slot[0].seen
    one.refs, one.n, one.room = 2, 1, 1
    one.hashes[0] = <uint64_t>slot[1].i
    return one


cdef inline void set_release(Slot *slot) noexcept:
    if slot[0].seen is not ALONE:
        seen_release(slot[0].seen)


cdef inline void set_keep(Slot *slot) noexcept:
    """Count one more reference."""
    if slot[0].seen is not NULL and slot[0].seen is not ALONE:
        slot[0].seen.refs += 1


cdef int set_add(Slot *slot, uint64_t hashed) except -1:
    cdef Seen *seen
    cdef uint64_t other
    if slot[0].seen is NULL:
        slot[0].seen, slot[1].i = ALONE, <int64_t>hashed
        return 0
    if slot[0].seen is not ALONE:
        return seen_add(&slot[0].seen, hashed)
    other = <uint64_t>slot[1].i
    if other == hashed:
        return 0
    seen = seen_new(2)
    seen.n = 2
    seen.hashes[0], seen.hashes[1] = min(other, hashed), max(other, hashed)
    slot[0].seen = seen
    return 0


cdef int set_merge(Slot *to, Slot *a, Slot *b) except -1:
    """Write the union over a third set, which may be one of them."""
    cdef Seen one, other
    cdef Seen *mine = set_of(a, &one)
    cdef Seen *theirs = set_of(b, &other)
    cdef Slot *whole = NULL
    cdef Slot found[2]
    cdef int n
    if mine is NULL or theirs is NULL:
        whole = b if mine is NULL else a
    elif mine.n >= 0 and theirs.n >= 0:
        n = seen_union_size(mine, theirs)
        whole = a if n == mine.n else b if n == theirs.n else NULL
    if whole is not NULL:
        set_keep(whole)
        found[0], found[1] = whole[0], whole[1]
    else:
        found[0].seen = seen_merge(mine, theirs)
        found[1].i = 0
    set_release(to)
    to[0], to[1] = found[0], found[1]
    return 0


cdef double set_size(Slot *a, Slot *b) except -1.0:
    """Give the number of distinct values of the union; `b` may be NULL."""
    cdef Seen one, other
    return seen_size(set_of(a, &one), NULL if b is NULL else set_of(b, &other))
