# An ordinary sample: every expert says what it expects, and it waits for its label. Included by folding.pyx.


cdef inline bint one_of(object d, object key) except -1:
    return PyDict_GetItemWithError(d, key) is not NULL


cdef class Samples(State):
    cdef bint is_watched(self, object short, list x) except -1:
        """Whether the data's quality and the estimate take this sample without anything that begins or ends with it."""
        if len(self.ps) + 1 >= self.BLOCK:
            return False
        if self.quality is None:
            return True
        if (self.number + 1) % self.EPOCH == 0:
            return False
        if self.repeats is not None and (
            one_of(self.ids, short) or one_of(self.ids_before, short) or len(self.ids) + 1 >= self.IDS
        ):
            return False
        for index, known in self.known:
            if not one_of(known, x[<Py_ssize_t>index]):
                return False
        return not self.quality_named or len(self.quality_rows) + 1 < self.STUCK

    cdef bint waits_alone(self, object event_id) except -1:
        """Whether the join has only to keep it."""
        cdef Py_ssize_t waiting = len(self.pending) + 1
        if one_of(self.pending, event_id) or (self.early and one_of(self.early, event_id)):
            return False
        return waiting + len(self.defaulted) <= self.most and len(self.waiting) + 1 <= 2 * waiting + self.SLACK

    cdef bint in_ranges(self, tuple own) except -1:
        """Whether the guard finds nothing, and has only to keep it."""
        if self.guard is None:
            return True
        if len(own) != len(self.guard_low) or len(self.guard_rows) + 1 >= self.GUARD_ROWS:
            return False
        try:
            return self.inside(self.guard_low, own, self.guard_high)
        except TypeError:
            return False

    cdef bint sample(self, int64_t position, object sample) except -1:
        """As `Fold._sample`; False for one that is not ordinary, of which nothing is done."""
        cdef list x
        cdef int64_t at, here
        cdef tuple own
        origin, event_id, short = field(sample, AT.sample_origin), field(sample, AT.sample_id), None
        given = field(sample, AT.sample_x)
        if not place_in_log(origin, &here) or not whole(field(sample, AT.sample_at), &at) or type(given) is not list:
            return False
        x = <list>given
        place = (field(origin, AT.topic_id), field(origin, AT.partition))
        if field(sample, AT.sample_recipe) not in self.alike or len(self.names) != len(x) or here <= self.seen.get(place, -1):
            return False
        if (at > self.at and at >= self.hour_over) or at >= self.psi_over:
            return False
        if self.repeats is not None:
            short = crc32(event_id.encode())
        own = tuple(x[: self.inputs])
        if not (self.is_watched(short, x) and self.waits_alone(event_id) and self.in_ranges(own)):
            return False
        self.seen[place] = here
        if at > self.at:
            self.at = at
        self.samples += 1
        if self.guard is not None:
            self.guard_samples += 1
            self.guard_outside = self.guard_nulls = NONE
            self.guard_rows.append(own)
        if self.segments is not None:
            self.values = self.drift.values = self.segments.sample(field(sample, AT.sample_at), position, sample, None)
        self.predict(position, at, sample, event_id, x, short)
        self.position = position + 1
        return True

    cdef int predict(self, int64_t position, int64_t at, object sample, object event_id, list x, object short) except -1:
        cdef list answers = [self.base]
        cdef double base = self.base, least
        vector, when = self.vector(self.names, x), field(sample, AT.sample_at)
        # stated for 64 bits, which hold it for so many samples
        asleep = self.thin if self.thin and (<uint64_t>self.samples * <uint64_t>2654435761) >> 7 & 3 else NONE
        self.asked, self.silent = self.ask(self.everyone, vector, vector, asleep, answers)
        boosted = NONE if asleep else self.thin
        least = 0.2 * (1.0 - base if base > 0.5 else base) + 1e-5
        least = self.LEAST_PROBABILITY if least > self.LEAST_PROBABILITY else least
        p, rates = self.mix(self.slow, self.middle, self.fast, self.rate_weights, answers, least, boosted, self.BOOST)
        answer = Answer(self.numbers, tuple(answers), Mixture(p, rates, least, boosted))
        self.all_asked += <int64_t>self.asked
        if self.silent:
            self.end()
            health.at_sample(self.fold, position, at, vector, answer)
            self.read()
            self.stale = True
        else:
            self.answered = vector
        self.chain = blake2b(self.chain + self.task_pack(position, p), digest_size=16).digest()
        self.predictions.append(
            Predicted(event_id, field(sample, AT.sample_key), when, p, self.version, self.leader_weight, position, None)
        )
        moved = None if self.segments is None else self.segments.inputs(when, position, x, p)
        self.psi_rows.append((*x, p))
        if len(self.psi_rows) >= self.PSI_ROWS:
            self.psi._count_rows()
        if moved:
            self.hear(self.segments.moved(moved, self.psi.firing))
        self.watch(position, at, x, p, when, short)
        for one in self.others:
            if found := one.sample(when, position, sample, p):
                self.hear(found)
        self.pending[event_id] = Pending(
            vector, when, position, self.samples, p, self.base, answer, NONE, None, self.values
        )
        self.waiting.append((when if at >= self.joins_at else self.join.clock, event_id))
        return 0

    cdef int watch(self, int64_t position, int64_t at, list x, object p, object when, object short) except -1:
        """As `Estimate.sample` and `DataQuality.sample`, in the middle of a block."""
        if not self.ps:
            self.expected._start = (when, position)
        self.ps.append(p)
        self.bases.append(self.estimate.base)
        if self.quality is not None:
            self.number += 1
            if self.repeats is not None:
                if self.again:
                    self.again = self.repeats.again = False
                self.ids[short] = None
            if not self.samples_from <= at < self.samples_to:
                self.end_quality()
                self.quality._count_samples()
                self.run_of_samples.open(when, position)
                self.read_quality()
            self.of_samples += 1
            self.samples_at, self.samples_position = at, position
            if self.quality_named:
                self.quality_rows.append(x)
        return 0
