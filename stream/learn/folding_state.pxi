# What a run has of its fold: read when it begins and after any other code has run, written back before. Included by folding.pyx.


cdef class State:
    cdef object fold, counts, guard, psi, estimate, expected, quality, repeats, run_of_samples, run_of_labels
    cdef object experts, gate, drift, losses, suspicion, adwin, join, history, rule, triggers, task_pack
    cdef object answered, leader, committed, version, leader_weight, values, chain, base, inside
    cdef dict seen, pending, early, defaulted, labelled, ids, ids_before
    cdef list names, everyone, known, met, guard_low, guard_high, guard_rows, psi_rows, quality_rows, said, outcomes, ps, bases
    cdef list predictions, slow, middle, fast, rate_weights, expert_losses
    cdef tuple numbers, thin, guard_outside, guard_nulls, label_at
    cdef object waiting, ranked, alike, delay, asked, silent, dull, again, block_over, labels_due, proven_at
    cdef int64_t at, position, hour_over, samples, labels, joined, learned, all_asked, taught
    cdef int64_t guard_samples, psi_over, newest, number, clock, judged, drift_labels, in_block, rival_labels, taken
    cdef int64_t of_samples, samples_from, samples_to, samples_at, samples_position
    cdef int64_t of_labels, labels_from, labels_to, labels_at, labels_position
    cdef int64_t inputs, replaced_at, wait_ms, joins_at, most
    cdef double counted_live, counted_base, judged_live, live, base_loss, committed_loss, together, gap
    cdef object skill
    cdef list quarantined, others
    cdef object segments
    cdef int64_t harm_until
    cdef bint open, stale, quality_named, leads
    # what tests may change is read from its module when a fold is taken up
    cdef int64_t GUARD_ROWS, PSI_ROWS, BLOCK, IDS, STUCK, DELAYS, EPOCH, KEPT_LABELS, SLACK, LEAD
    cdef int64_t LOOK, FREEZE, CLOCK, BASE_LABELS, JUDGED, SKILLS
    cdef double LEAST, MOST, COST, LOSS_MOST, LEAST_PROBABILITY, RATE, SLOWED, SHARED, SHARE
    cdef double LEADS, THIN
    cdef int64_t THIN_AFTER, suspected
    cdef object first, totals
    cdef object vector, is_due, ask, teach, mix, settle, add, BOOST, OUTER_RATE, OUTER_SHARE

    def __init__(self, fold, int64_t judged_labels):
        self.fold, self.JUDGED = fold, judged_labels
        self.GUARD_ROWS, self.PSI_ROWS, self.BLOCK = guards.EPOCH_SAMPLES, psis.BUFFER_ROWS, expectations.BLOCK
        self.IDS, self.STUCK, self.DELAYS = all_repeats.MOST_IDS // 2, qualities.BLOCK_SAMPLES, qualities.BLOCK_LABELS
        self.EPOCH, self.KEPT_LABELS, self.SLACK = qualities.EPOCH_SAMPLES, join_by_id.MOST_REMEMBERED // 2, joins.SLACK
        self.LEAD, self.LOOK, self.FREEZE = births.LEAD_EVERY, births.LOOK_EVERY, births.FREEZE_EVERY
        self.SKILLS = skills.WINDOW_LABELS
        self.CLOCK, self.LOSS_MOST = suspicion.CLOCK, suspicion.LOSS_MOST
        self.LEAST, self.MOST, self.COST = losses_of.PROBABILITY_LEAST, losses_of.PROBABILITY_MOST, losses_of.LOSS_MOST
        self.inside, self.vector, self.is_due = guards.inside, learner.vector, births.is_due
        self.ask, self.teach = pool.ask, pool.teach
        self.mix, self.settle, self.add, self.totals = weighing.mix, weighing.settle, weighing.add, weighing.totals
        self.LEADS, self.THIN, self.THIN_AFTER = all_experts.LEADS_AT, all_experts.THIN_WEIGHT, all_experts.THIN_AFTER_LABELS
        self.LEAST_PROBABILITY, self.BOOST, self.RATE = gates.LEAST_PROBABILITY, gates.BOOST, gates.RATES[0]
        self.SLOWED, self.SHARED, self.SHARE = gates.SLOWED_BY_LABELS, gates.SHARED_BY_LABELS, gates.SHARE
        self.OUTER_RATE, self.OUTER_SHARE = gates.OUTER_RATE, gates.OUTER_SHARE
        self.open = False

    @staticmethod
    def fits(fold) -> bool:
        """Whether a fold of this definition has ordinary records at all."""
        watchers = {type(one) for one in fold.drift.watchers.all}
        return (
            type(fold.task) is Binary
            and type(fold.join) is JoinById
            and fold.uncertainty is None
            and fold.actions
            and Estimate in watchers
            and watchers <= {Estimate, DataQuality, SegmentFlow, Schema}
        )

    cdef bint begin(self) except -1:
        """Read everything; False while no record is ordinary."""
        fold = self.fold
        drift, guard, recipes = fold.drift, fold.drift.guard, fold.recipes
        if not (
            fold.acting and recipes.now.names is not None and not (fold.alone or fold.pinned)
            and fold.trace is None and drift.hold is None
            and not (drift.fired or drift.hold_over or drift.failing) and drift.psi._window is not None
        ):
            return False
        if guard is not None and (guard._live or guard._first_ms is None):
            return False
        watchers = drift.watchers.all
        self.estimate = watchers[0]
        self.quality = next((one for one in watchers if type(one) is DataQuality), None)
        self.others = [one for one in drift.watchers.of_samples if one is not self.estimate and one is not self.quality]
        if type(self.estimate) is not Estimate or any([type(one) is not SegmentFlow for one in self.others]):
            return False
        if self.quality is not None and (self.quality.alarmed or (
            self.quality.repeats is not None and self.quality.repeats.rare.firing
        )):
            return False
        try:
            self.read()
        except OverflowError:  # somebody wrote a time of more than 64 bits into the log
            return False
        return self.samples < MOST_SAMPLES

    cdef int read(self) except -1:
        fold = self.fold
        self.counts, self.experts, self.drift, self.join, self.history = (
            fold.counts, fold.experts, fold.drift, fold.join, fold.history
        )
        self.suspicion, self.triggers, self.task_pack = fold.suspicion, fold.triggers, fold.task.pack
        self.chain, self.base, self.answered = fold.chain, fold.base, fold.answered
        self.at, self.position, self.replaced_at = fold.at, fold.position, fold.replaced_at
        self.seen, self.predictions = fold.seen.newest, fold.outputs.predictions
        lineage = fold.recipes.now
        self.names, self.alike = list(lineage.names), lineage.alike
        self.hour_over, self.block_over, self.ranked = self.history.hour_over, self.history.block_over, self.history.said
        self.labels_due, self.proven_at = self.triggers.labels_due, self.drift.proven_at
        self.segments = self.drift.segments
        self.skill = None if self.drift.skill.proven else self.drift.skill
        self.harm_until = 0 if self.drift.harm is None else self.drift.harm_until
        self.leads, self.quarantined = self.drift.lead is not None, fold.quarantined
        self.read_counts()
        self.read_experts()
        self.read_inputs()
        if self.quality is not None:
            self.read_quality()
        self.read_join()
        self.open, self.stale = True, False
        return 0

    cdef int read_counts(self) except -1:
        counts, drift, losses = self.counts, self.drift, self.drift.losses
        self.samples, self.labels, self.joined, self.learned = counts.samples, counts.labels, counts.joined, counts.learned
        self.all_asked, self.taught = counts.asked, counts.taught
        self.counted_live, self.counted_base = counts.live_loss, counts.base_loss
        self.losses, self.drift_labels, self.in_block = losses, drift.labels, losses._in_block
        self.live, self.base_loss, self.committed_loss = losses._live, losses._base, losses._committed
        self.together, self.rival_labels, self.gap = losses._together, losses._rival_labels, losses.gap
        self.BASE_LABELS = losses.config.base_labels
        self.adwin, self.taken = self.suspicion.adwin, self.suspicion.taken
        return 0

    cdef int read_experts(self) except -1:
        experts = self.experts
        gate = experts.gate
        self.everyone, self.numbers, self.expert_losses = experts.all, experts.numbers, experts.losses
        self.slow, self.middle, self.fast = gate.weights
        self.rate_weights = gate.rate_weights
        self.delay, self.judged, self.judged_live = experts.delay, experts.judged, experts.live_loss
        self.asked, self.silent, self.dull = experts.asked, experts.silent, experts.dull
        self.read_leader()
        return 0

    cdef int read_leader(self) except -1:
        experts = self.experts
        self.thin, self.leader, self.committed = experts.thin, experts.leader, experts.committed
        self.first, self.suspected = experts.first, experts.suspected
        self.leader_weight, self.version = experts.leader_weight, self.leader.version
        return 0

    cdef int read_inputs(self) except -1:
        drift = self.drift
        self.inputs, self.values, self.guard, self.psi = drift.inputs, drift.values, drift.guard, drift.psi
        if self.guard is not None:
            guard = self.guard
            self.guard_low, self.guard_high, self.guard_rows = guard._low, guard._high, guard._rows
            self.guard_samples, self.guard_outside, self.guard_nulls = guard.samples, guard.outside, guard.nulls
        self.psi_rows, self.psi_over = self.psi._rows, (self.psi._window + 1) * self.psi.window_ms
        self.expected = self.estimate.expected
        self.ps, self.bases = self.expected._p, self.expected._base
        self.said, self.outcomes, self.newest = self.expected._said, self.expected._outcomes, self.expected._newest
        return 0

    cdef int read_quality(self) except -1:
        quality = self.quality
        self.number, self.clock, self.label_at, self.met = quality.number, quality.clock, quality.label_at, quality.met
        self.known, self.quality_rows, self.quality_named = quality.known, quality.rows, bool(quality.names)
        self.repeats = quality.repeats
        if self.repeats is not None:
            self.ids, self.ids_before, self.again = self.repeats._ids, self.repeats._before, self.repeats.again
        run = self.run_of_samples = quality.samples
        self.of_samples, self.samples_from, self.samples_to = run.count, run.start, run.end
        self.samples_at, self.samples_position = run.at, run.position
        run = self.run_of_labels = quality.labels
        self.of_labels, self.labels_from, self.labels_to = run.count, run.start, run.end
        self.labels_at, self.labels_position = run.at, run.position
        return 0

    cdef int read_join(self) except -1:
        join = self.join
        self.pending, self.early, self.defaulted = join.pending, join.early, join.defaulted
        self.labelled, self.waiting, self.most = join.labelled, join.waiting, join.most
        self.wait_ms, self.joins_at = join.rule.wait_ms + join.rule.corrected_ms, join.clock
        return 0

    cdef int end(self) except -1:
        """Write everything back that a run changes and that is no list, dictionary or queue."""
        fold, counts, losses = self.fold, self.counts, self.losses
        if not self.open:
            return 0
        self.open = False
        fold.chain, fold.base, fold.answered, fold.at, fold.position = (
            self.chain, self.base, self.answered, self.at, self.position
        )
        counts.samples, counts.labels, counts.joined, counts.learned = self.samples, self.labels, self.joined, self.learned
        counts.asked, counts.taught, counts.live_loss, counts.base_loss = (
            self.all_asked, self.taught, self.counted_live, self.counted_base
        )
        self.drift.labels, losses._in_block, losses._rival_labels = self.drift_labels, self.in_block, self.rival_labels
        losses._live, losses._base, losses._committed = self.live, self.base_loss, self.committed_loss
        losses._together, losses.gap, self.suspicion.taken = self.together, self.gap, self.taken
        self.end_experts()
        if self.guard is not None:
            guard = self.guard
            guard.samples, guard.outside, guard.nulls = self.guard_samples, self.guard_outside, self.guard_nulls
        self.expected._newest = self.newest
        if self.quality is not None:
            self.end_quality()
        return 0

    cdef int hear(self, found) except -1:
        """Tell what watchers found."""
        self.end()
        self.drift.hear(found)
        self.read()
        self.stale = True
        return 0

    cdef int end_experts(self) except -1:
        experts = self.experts
        experts.delay, experts.judged, experts.live_loss = self.delay, self.judged, self.judged_live
        experts.asked, experts.silent, experts.dull = self.asked, self.silent, self.dull
        return 0

    cdef int end_quality(self) except -1:
        quality, run = self.quality, self.run_of_samples
        quality.number, quality.label_at = self.number, self.label_at
        if self.repeats is not None:
            self.repeats.again = self.again
        run.count, run.at, run.position = self.of_samples, self.samples_at, self.samples_position
        run = self.run_of_labels
        run.count, run.at, run.position = self.of_labels, self.labels_at, self.labels_position
        return 0
