# The ordinary label of a sample that waits: every expert is charged with what it said, and learns. Included by folding.pyx.


cdef object answer_of(object answer, object expert):
    """As `Answer.of`."""
    cdef tuple asked = field(answer, AT.asked)
    cdef Py_ssize_t place
    number = expert.number
    for place in range(len(asked)):
        if asked[place] is number or asked[place] == number:
            return (<tuple>field(answer, AT.said))[place]
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

    cdef bint is_quiet(self, object waits) except -1:
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
        if <int64_t>field(waits, AT.position) < self.replaced_at or field(waits, AT.outside):
            return False
        if self.quarantined and self.fold.is_quarantined(field(waits, AT.position)):
            return False
        if len(self.labelled) + 1 >= self.KEPT_LABELS or field(waits, AT.issued) is not None:
            return False
        return self.quality is None or len(self.met) + 1 < self.DELAYS

    cdef bint label(self, int64_t position, object label) except -1:
        """As `Fold._label`; False for one that is not ordinary, of which nothing is done."""
        cdef int64_t at, sampled, here
        cdef PyObject *found
        origin, event_id, y = field(label, AT.label_origin), field(label, AT.label_id), field(label, AT.label_y)
        if y is not True and y is not False:
            return False
        if not place_in_log(origin, &here) or not whole(field(label, AT.label_at), &at):
            return False
        place = (field(origin, AT.topic_id), field(origin, AT.partition))
        if here <= self.seen.get(place, -1) or (at > self.at and at >= self.hour_over):
            return False
        found = PyDict_GetItemWithError(self.pending, event_id)
        if found is NULL:
            return False
        waits = <object>found
        if type(waits) is not Pending or not whole(field(waits, AT.at), &sampled):
            return False
        answer = field(waits, AT.answer)
        if type(answer) is not Answer or type(field(answer, AT.mixture)) is not Mixture:
            return False
        if sampled < at - self.wait_ms or not self.is_quiet(waits):
            return False
        self.seen[place] = here
        if at > self.at:
            self.at = at
        self.labels += 1
        if self.quality is not None:
            if not self.labels_from <= at < self.labels_to:
                self.end_quality()
                self.quality._count_labels()
                self.run_of_labels.open(field(label, AT.label_at), position)
                self.read_quality()
            self.of_labels += 1
            self.labels_at, self.labels_position = at, position
            self.label_at = (position, at if at > self.clock else self.clock)
            self.met.append((field(waits, AT.at), self.label_at[1], position))
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
        answer, p = field(waits, AT.answer), field(waits, AT.p)
        self.joined += 1
        if self.ranked is not None:
            self.ranked.append((p, y))
        live, base = self.log_loss(p, true), self.log_loss(field(waits, AT.base), true)
        self.counted_live += live
        self.counted_base += base
        self.charge(answer, y, self.samples - <int64_t>field(waits, AT.number))
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
        self.compare(live, base, rivals, committed, field(field(answer, AT.mixture), AT.mixed), p, true)
        if self.segments is not None:
            self.losses.gap = self.gap
            found = self.segments.label(at, position, field(waits, AT.segments), live, base, self.losses)
            if found:
                self.hear(found)
        self.estimate.base = field(waits, AT.base)
        if <int64_t>field(waits, AT.position) > self.newest:
            self.newest = field(waits, AT.position)
        self.said.append(p)
        self.outcomes.append(y)
        self.learn(position, at, field(waits, AT.x), y, self.rose(leader if led else live))
        return 0

    cdef int charge(self, object answer, object y, int64_t delay) except -1:
        """As `Experts.charge`."""
        cdef double late = <double>delay if self.delay is None else <double>self.delay
        cdef list charged = []
        late = late + <double>DELAY_RATE * (<double>delay - late)
        self.delay = late
        mixture, answers = field(answer, AT.mixture), field(answer, AT.said)
        asked, boosted = field(answer, AT.asked), field(mixture, AT.boosted)
        if asked is not self.numbers and asked != self.numbers:
            own = dict(zip(asked, answers, strict=True))
            answers = [own.get(number) for number in self.numbers]
            if boosted:
                more = dict(zip(asked, boosted, strict=True))
                boosted = mixture.boosted = tuple([more.get(number, False) for number in self.numbers])
        lost = self.settle(
            self.slow, self.middle, self.fast, self.rate_weights, answers, field(mixture, AT.rates), field(mixture, AT.mixed),
            field(mixture, AT.least), y, self.RATE * (1.0 / (1.0 + late / self.SLOWED)), boosted, self.BOOST,
            self.SHARE / (1.0 + late / self.SHARED), self.OUTER_RATE, self.OUTER_SHARE, charged,
        )  # fmt: skip
        self.add(self.expert_losses, charged)
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
        taught, self.dull = self.teach(self.everyone, x, x, y)
        self.taught += <int64_t>taught
        if self.dull:
            self.end()
            health.at_label(self.fold, position, at, x, y, taught)
            self.read()
            self.stale = True
        self.base = self.base + BASE_RATE * (y - self.base)
        self.learned += 1
        if rose or self.learned % self.FREEZE == 0 or self.is_due(self.learned):
            self.end()
            births.at_label(self.fold, position, at, rose)
            self.read()
            self.stale = True
        else:
            if self.learned % self.LEAD == 0 and not self.leads_on():
                self.end()
                births._leads(self.fold, position, at, self.experts.lead(self.learned))
                self.read()
                self.stale = True
            if self.learned % self.LOOK == 0:
                self.end_experts()
                for one in departures.hopeless(self.experts, self.learned):
                    self.experts.remove(one)
                departures.quiet(self.experts, self.samples)
                self.read_experts()
        if self.learned >= <int64_t>self.labels_due:
            self.end()
            self.fold._asked(self.triggers.counted(position, at, self.drift.models))
            self.read()
            self.stale = True
        return 0

    cdef bint leads_on(self) except -1:
        """As `Experts.lead` where nobody takes the lead; False where somebody does, and nothing is done."""
        cdef list weights = self.totals(self.slow, self.middle, self.fast, self.rate_weights), thin
        cdef double weight, most = -1.0, second = -1.0
        cdef Py_ssize_t here, place = 0, rival = 0, leader = 0
        cdef bint thinner = False
        for here in range(1, len(weights)):
            weight = weights[here]
            one = self.everyone[here]
            if one is self.leader:
                leader = here
            if weight > most:
                most, place = weight, here
            if weight > second and one is not self.committed:
                second, rival = weight, here
            thinner = thinner or weight < self.THIN
        if place != leader and <double>weights[place] > self.LEADS:
            return False
        if rival:
            self.experts.rival = self.everyone[rival]
        self.leader_weight = self.experts.leader_weight = weights[leader]
        found = NONE
        if thinner and self.learned - self.suspected >= self.THIN_AFTER:
            thin = [False] * len(weights)
            for here in range(1, len(weights)):
                one = self.everyone[here]
                if <double>weights[here] < self.THIN and not (one is self.first or one is self.leader or one is self.committed):
                    thin[here] = one.born <= self.learned - self.THIN_AFTER
            found = tuple(thin) if True in thin else NONE
        if found != self.thin:
            self.thin = self.experts.thin = found
        return True
