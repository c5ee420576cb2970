# The ordinary label of a sample that waits: every expert is charged with what it said, and learns. Included by folding.pyx.


cdef object answer_of(object answer, object expert):
    """As `Answer.of`."""
    cdef tuple asked = answer.asked
    cdef Py_ssize_t place
    number = expert.number
    for place in range(len(asked)):
        if asked[place] is number or asked[place] == number:
            return (<tuple>answer.said)[place]
    return None


cdef class Labels(Samples):
    cdef double log_loss(self, object said, bint y) except? -1.0:
        """As `drift.log_loss`."""
        cdef double p = said
        if p > self.MOST:
            p = self.MOST
        elif p < self.LEAST:
            p = self.LEAST
        elif p != p:
            return self.COST
        return -log(p if y else 1.0 - p)

    cdef bint is_quiet(self, int64_t at, object waits) except -1:
        """Whether nothing begins or ends with a label of this sample."""
        if self.in_block + 1 >= self.BASE_LABELS or len(self.said) + 1 >= self.BLOCK:
            return False
        if self.skill is not None and (<int64_t>self.skill.labels + 1) % self.SKILLS == 0:
            return False
        if self.drift_labels + 1 == <int64_t>self.proven_at or self.joined + 1 == <int64_t>self.block_over:
            return False
        if self.harm_until and self.drift_labels + 1 >= self.harm_until:
            return False
        if self.leads and (self.drift_labels + 1) % self.JUDGED == 0:
            return False
        if <int64_t>waits.position < self.replaced_at or waits.outside:
            return False
        if self.quarantined and self.fold.is_quarantined(waits.position):
            return False
        if len(self.labelled) + 1 >= self.KEPT_LABELS or waits.issued is not None:
            return False
        return self.quality is None or (self.labels_from <= at < self.labels_to and len(self.met) + 1 < self.DELAYS)

    cdef bint label(self, int64_t position, object label) except -1:
        """As `Fold._label`; False for one that is not ordinary, of which nothing is done."""
        cdef int64_t at = label.at, sampled, here
        cdef PyObject *found
        origin, event_id, y = label.origin, label.id, label.y
        if y is not True and y is not False:
            return False
        place, here = (origin.topic_id, origin.partition), <int64_t>origin.offset * 4 + <int64_t>origin.sub
        if here <= <int64_t>self.seen.get(place, -1) or (at > self.at and at >= self.hour_over):
            return False
        found = PyDict_GetItemWithError(self.pending, event_id)
        if found is NULL:
            return False
        waits = <object>found
        sampled = waits.at
        if sampled < at - self.wait_ms or not self.is_quiet(at, waits):
            return False
        self.seen[place] = here
        if at > self.at:
            self.at = at
        self.labels += 1
        if self.quality is not None:
            self.of_labels += 1
            self.labels_at, self.labels_position = at, position
            self.label_at = (position, at if at > self.clock else self.clock)
            self.met.append((waits.at, self.label_at[1], position))
        PyDict_DelItem(self.pending, event_id)
        self.labelled[event_id] = y
        self.judge(position, sampled if sampled > at else at, waits, y)
        self.position = position + 1
        return True

    cdef int judge(self, int64_t position, int64_t at, object waits, object y) except -1:
        """As `Fold._join`."""
        cdef bint true = y is True, dull
        cdef double live, base, leader = 0.0, committed
        cdef bint led = False, rivals
        answer, p = waits.answer, waits.p
        self.joined += 1
        if self.ranked is not None:
            self.ranked.append((p, y))
        live, base = self.log_loss(p, true), self.log_loss(waits.base, true)
        self.counted_live += live
        self.counted_base += base
        self.charge(answer, y, self.samples - <int64_t>waits.number)
        said = answer_of(answer, self.leader)
        if said is not None:
            led, leader = True, self.log_loss(said, true)
        rivals, committed = led, leader
        if self.committed is not self.leader:
            said = answer_of(answer, self.committed)
            rivals = said is not None
            committed = self.log_loss(said, true) if rivals else 0.0
        if self.skill is not None:
            self.skill.update(at, position, live, base)
        if self.in_block == 0:
            self.losses._start = (at, position)
        self.compare(live, base, rivals, committed, answer.mixture.p, p, true)
        self.estimate.base = waits.base
        if <int64_t>waits.position > self.newest:
            self.newest = waits.position
        self.said.append(p)
        self.outcomes.append(y)
        self.learn(position, at, waits.x, y, self.rose(leader if led else live))
        return 0

    cdef int charge(self, object answer, object y, int64_t delay) except -1:
        """As `Experts.charge`."""
        cdef double late = <double>delay if self.delay is None else <double>self.delay
        cdef list charged = []
        late = late + <double>DELAY_RATE * (<double>delay - late)
        self.delay = late
        mixture, answers = answer.mixture, answer.said
        if answer.asked is not self.numbers and answer.asked != self.numbers:
            own = dict(zip(answer.asked, answers, strict=True))
            answers = [own.get(number) for number in self.numbers]
            if mixture.boosted:
                more = dict(zip(answer.asked, mixture.boosted, strict=True))
                mixture.boosted = tuple([more.get(number, False) for number in self.numbers])
        lost = weighing.settle(
            self.slow, self.middle, self.fast, self.rate_weights, answers, mixture.rates, mixture.p, mixture.least, y,
            gates.RATES[0] * gates.slowed(late), mixture.boosted, gates.BOOST, gates.shared(late), gates.OUTER_RATE,
            gates.OUTER_SHARE, charged,
        )  # fmt: skip
        weighing.add(self.expert_losses, charged)
        self.judged += 1
        self.judged_live += <double>lost
        return 0

    cdef int compare(
        self, double live, double base, bint rivals, double committed, object mixed, object p, bint true
    ) except -1:
        """As `DriftRules.label` and `LossMonitor.update` in the middle of a block."""
        cdef double together
        self.drift_labels += 1
        self.in_block += 1
        self.live += live
        self.base_loss += base
        self.gap = 0.0
        if rivals:
            together = live if mixed == p else self.log_loss(mixed, true)
            self.gap = committed - together
            self.committed_loss += committed
            self.together += together
            self.rival_labels += 1
        return 0

    cdef bint rose(self, double loss) except -1:
        """As `Suspicion.rose`."""
        loss = (self.LOSS_MOST if loss > self.LOSS_MOST else loss) / self.LOSS_MOST
        self.taken += 1
        if self.taken % self.CLOCK:
            self.adwin.update(loss)
            return False
        before = self.adwin.estimation
        self.adwin.update(loss)
        if not self.adwin.drift_detected:
            return False
        self.taken = 0
        return self.adwin.estimation > before

    cdef int learn(self, int64_t position, int64_t at, dict x, object y, bint rose) except -1:
        """As `Fold._learn` and `births.at_label`."""
        taught, self.dull = pool.teach(self.everyone, x, x, y)
        self.taught += <int64_t>taught
        if self.dull:
            self.end()
            health.at_label(self.fold, position, at, x, y, taught)
            self.read()
            self.stale = True
        self.base = self.base + BASE_RATE * (y - self.base)
        self.learned += 1
        if rose or self.learned % self.LOOK == 0 or self.learned % self.FREEZE == 0 or births.is_due(self.learned):
            self.end()
            births.at_label(self.fold, position, at, rose)
            self.read()
            self.stale = True
        elif self.learned % self.LEAD == 0:
            top = self.experts.lead(self.learned)
            self.read_leader()
            if top is not None:
                self.end()
                births._leads(self.fold, position, at, top)
                self.read()
                self.stale = True
        if self.learned >= <int64_t>self.labels_due:
            self.end()
            self.fold._asked(self.triggers.counted(position, at, self.drift.models))
            self.read()
            self.stale = True
        return 0
