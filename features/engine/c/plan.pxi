# A `Program` as C structures: columns, groups and results by place. Made once per view.

KINDS = {
    "count": V_COUNT, "rate": V_RATE, "sum": V_SUM, "mean": V_MEAN, "variance": V_VARIANCE, "std": V_STD, "min": V_LEAST,
    "max": V_MOST, "first": V_DATED, "last": V_DATED, "row": V_DATED, "last_n": V_LAST_N, "distinct": V_DISTINCT,
    "quantile": V_QUANTILE, "top_k": V_TOP_K, "histogram": V_HISTOGRAM, "decayed_count": V_DECAYED,
    "decayed_sum": V_DECAYED, "decayed_mean": V_DECAYED_MEAN, "since_last": V_SINCE_WHERE,
}
COLUMNS = {
    "n": (COUNT, 1), "sum": (SUM, 1), "min": (LEAST, 1), "max": (MOST, 1), "newest": (NEWEST, 1), "moments": (MOMENTS, 3),
    "first": (FIRST, 3), "last": (LAST, 3), "row": (ROW, 3), "distinct": (DISTINCT, 2), "last_n": (DATED_OBJECT, 1),
    "buckets": (OBJECT, 1), "counts": (OBJECT, 1), "histogram": (OBJECT, 1), "weight": (WEIGHT, 1),
    "weighted": (WEIGHTED, 1),
}
ADDS = {
    "last_n": "add_last_n", "buckets": "add_bucket", "counts": "add_count", "histogram": "add_histogram",
}
MERGES = {
    "last_n": "merge_last_n", "buckets": "merge_buckets", "counts": "merge_counts", "histogram": "merge_histograms",
}
MERGES_WITH_CONSTANT = ("last_n", "counts")
ADDS_WITH_CONSTANT = ("last_n", "counts", "histogram")
READS = {"quantile": FUNCTIONS["quantile_of"], "top_k": FUNCTIONS["most_frequent"]}

pack_any = msgspec.msgpack.Encoder(order="deterministic").encode
json_of = msgspec.json.Encoder().encode
unpack_any = msgspec.msgpack.Decoder().decode


@cython.no_gc_clear
cdef class Plan:
    """Everything that is the same for all states of a view."""

    cdef object program
    cdef object names, version
    cdef object twin          # the Python engine, once it is needed
    cdef list kept            # what the structures borrow
    cdef uint64_t mark
    cdef list labels          # the names of the features as JSON, with what stands before and after them
    cdef bytes ending         # the recipe as JSON, and the end of a document
    cdef list field_names
    cdef bint *field_numbers
    cdef list functions       # of the expressions
    cdef int **arguments      # of each: how many, and then places of fields
    cdef int n_fields, n_rows, n_half_lives, n_groups, n_gaps, n_leaves
    cdef double *half_lives
    cdef Layout totals
    cdef Group *groups
    cdef Gap *gaps
    cdef Leaf *leaves
    cdef bint any_before
    cdef Reading every, numeric, own, before
    cdef Scratch *spare
    cdef size_t scratch_bytes, state_bytes, closed_slots
    cdef list memory          # addresses; freed with the plan

    def __cinit__(self):
        self.spare = NULL
        self.memory = []

    def __init__(self, program, names, version):
        """Lay out the plan of a program; its features' names and its version stand in documents."""
        self.program, self.names, self.version, self.kept = program, names, version, []
        self.mark = int(version, 16)
        opening = b'{"values":{'
        self.labels = []
        for name in names:
            self.labels.append(opening + json_of(name) + b":")
            opening = b","
        self.ending = b',"recipe":' + json_of(version) + b"}"
        leaves = program.leaves
        self.field_names = list(dict.fromkeys(name for f in leaves for name in f.reads))
        texts = [text for f in leaves for text in (f.where, f.constant if f.kind == "row" else None) if text]
        texts = list(dict.fromkeys(texts))
        half_lives = list(dict.fromkeys(c.constant for c in program.totals if c.op in ("weight", "weighted")))
        self.n_fields, self.n_rows, self.n_half_lives = len(self.field_names), len(texts), len(half_lives)
        self.field_numbers = <bint *>self.room(sizeof(bint) * self.n_fields)
        for i, name in enumerate(self.field_names):
            self.field_numbers[i] = name in program.number_fields
        self.half_lives = <double *>self.room(sizeof(double) * self.n_half_lives)
        for i, half_life in enumerate(half_lives):
            self.half_lives[i] = half_life
        self.lower_expressions(texts)
        self.lower_columns(&self.totals, program.totals, texts, half_lives)
        self.n_groups, self.n_gaps, self.n_leaves = len(program.groups), len(program.session_groups), len(leaves)
        self.groups = <Group *>self.room(sizeof(Group) * self.n_groups)
        self.closed_slots = 0
        for i, group in enumerate(program.groups):
            self.lower_group(&self.groups[i], group, program.tiles[i], texts)
        self.gaps = <Gap *>self.room(sizeof(Gap) * self.n_gaps)
        for i, gap in enumerate(program.session_groups):
            self.gaps[i].gap_ms, self.gaps[i].grace_ms, self.gaps[i].keep_ms = gap.gap_ms, gap.grace_ms, gap.keep_ms
            self.lower_columns(&self.gaps[i].layout, program.visits[i], texts, [])
            self.gaps[i].stride = 2 + self.gaps[i].layout.width
        self.leaves = <Leaf *>self.room(sizeof(Leaf) * self.n_leaves)
        for i, f in enumerate(leaves):
            self.lower_leaf(&self.leaves[i], f, texts, half_lives)
        self.lower_readings()
        self.state_bytes = (
            sizeof(Slot) * (self.totals.width + self.closed_slots) + sizeof(Ring) * self.n_groups
            + sizeof(Visits) * self.n_gaps
        )
        self.scratch_bytes = scratch_size(self)

    def __dealloc__(self):
        free(self.spare)
        for address in self.memory or ():
            free(<void *><size_t>address)

    cdef void *room(self, size_t n) except NULL:
        """Give zeroed memory that lives as long as the plan."""
        cdef void *memory = calloc(1, n + 1)
        if memory is NULL:
            raise MemoryError
        self.memory.append(<size_t>memory)
        return memory

    cdef PyObject *keep(self, value):
        """Borrow an object for as long as the plan lives."""
        self.kept.append(value)
        return <PyObject *>value

    cdef int lower_expressions(self, list texts) except -1:
        cdef int i, k
        self.functions = []
        self.arguments = <int **>self.room(sizeof(int *) * len(texts))
        for i, text in enumerate(texts):
            known = expression(text)
            self.functions.append(known.function)
            self.arguments[i] = <int *>self.room(sizeof(int) * (1 + len(known.fields)))
            self.arguments[i][0] = len(known.fields)
            for k, name in enumerate(known.fields):
                self.arguments[i][1 + k] = self.field_names.index(name)
        return 0

    cdef int lower_columns(self, Layout *layout, columns, list texts, list half_lives) except -1:
        cdef int i, at = 0
        cdef Col *col
        layout.n = len(columns)
        layout.cols = <Col *>self.room(sizeof(Col) * layout.n)
        layout.plain = True
        for i, column in enumerate(columns):
            assert columns[column] == i
            col = &layout.cols[i]
            op, width = COLUMNS[column.op]
            col.op, col.at = op, at
            at += width
            reads = column.field is not None and column.op != "row"
            col.field = self.field_names.index(column.field) if reads else -1
            col.where = texts.index(column.where) if column.where is not None else -1
            col.row = texts.index(column.field) if column.op == "row" else -1
            col.decay = half_lives.index(column.constant) if column.op in ("weight", "weighted") else -1
            col.name = self.keep(column.op)
            if owns(col.op):
                layout.plain = False
            if column.op in ADDS:
                col.add = self.keep(FUNCTIONS[ADDS[column.op]])
                col.merge = self.keep(FUNCTIONS[MERGES[column.op]])
                col.constant = self.keep(column.constant)
                col.add_constant = column.op in ADDS_WITH_CONSTANT
                col.merge_constant = column.op in MERGES_WITH_CONSTANT
        layout.width = at
        layout.zero = <Slot *>self.room(sizeof(Slot) * at)
        for i in range(layout.n):
            col = &layout.cols[i]
            if col.op == LEAST:
                layout.zero[col.at].f = INFINITY
            elif col.op == MOST:
                layout.zero[col.at].f = -INFINITY
            elif col.op == NEWEST:
                layout.zero[col.at].i = NEVER_MS
        return 0

    cdef int lower_group(self, Group *group, given, columns, list texts) except -1:
        cdef int k, i
        cdef Window *window
        group.hop_ms, group.horizon, group.nearest = given.hop_ms, given.horizon, given.nearest
        self.lower_columns(&group.layout, columns, texts, [])
        group.stride = 1 + group.layout.width
        group.n = len(given.spans)
        group.windows = <Window *>self.room(sizeof(Window) * group.n)
        self.closed_slots += group.n * group.stride
        for k, span in enumerate(given.spans):
            window = &group.windows[k]
            needs = {
                column for f in self.program.leaves if f.hop_ms == given.hop_ms and f.span == span
                for column in columns_of(f)
            }
            window.span = span
            window.needs = <Col **>self.room(sizeof(Col *) * len(needs))
            for i, column in enumerate(columns):
                if column in needs:
                    window.needs[window.n] = &group.layout.cols[i]
                    window.n += 1
        return 0

    cdef int lower_leaf(self, Leaf *leaf, f, list texts, list half_lives) except -1:
        cdef Layout *layout = NULL
        program, needs = self.program, columns_of(f)
        leaf.kind = KINDS[f.kind]
        leaf.row = texts.index(f.constant) if f.kind == "row" else -1
        leaf.condition = texts.index(f.where) if f.kind == "row" and f.where is not None else -1
        leaf.before = f.kind in BEFORE
        leaf.computed = f.kind in COMPUTED
        leaf.has_default = f.default is not None
        if isinstance(f.default, str):
            leaf.text = self.keep(f.default)
        elif f.default is not None:
            leaf.number = f.default
        if f.kind == "rate":
            leaf.scale = f.window_ms / 1000
        if f.kind in READS:
            leaf.function, leaf.constant = self.keep(READS[f.kind]), self.keep(f.constant)
        if f.kind in ("decayed_count", "decayed_sum"):
            leaf.decay = half_lives.index(f.constant)
        if f.kind == "since_last" and f.where is None:
            leaf.kind, leaf.where = V_SINCE, NO_COLUMNS
            return 0
        if f.window_ms is None:
            leaf.where, columns, layout = IN_TOTALS, program.totals, &self.totals
        elif f.hop_ms is None:
            leaf.where = IN_VISITS
            leaf.g = next(g for g, gap in enumerate(program.session_groups) if gap.gap_ms == f.window_ms)
            columns, layout = program.visits[leaf.g], &self.gaps[leaf.g].layout
        else:
            leaf.where = IN_RING
            leaf.g = next(g for g, group in enumerate(program.groups) if group.hop_ms == f.hop_ms)
            leaf.k = program.groups[leaf.g].spans.index(f.span)
            columns, layout = program.tiles[leaf.g], &self.groups[leaf.g].layout
        leaf.column = &layout.cols[columns[needs[0]]]
        leaf.second = &layout.cols[columns[needs[1]]] if len(needs) > 1 else NULL
        return 0

    cdef int lower_readings(self) except -1:
        features = self.program.features
        numeric = [f for f in features if f.numeric]
        before = [g for f in numeric for g in (f.parts or (f,)) if g.kind in BEFORE]
        self.any_before = bool(before)
        self.lower_reading(&self.every, features, False)
        self.lower_reading(&self.numeric, numeric, False)
        self.lower_reading(&self.own, numeric, True)
        self.lower_reading(&self.before, before, False)
        return 0

    cdef int lower_reading(self, Reading *reading, features, bint own) except -1:
        cdef int i
        leaves = self.program.leaves
        reading.n = len(features)
        reading.results = <Result *>self.room(sizeof(Result) * reading.n)
        groups = set()
        for i, f in enumerate(features):
            parts = f.parts or (f,)
            reading.results[i].leaf = leaves.index(parts[0])
            reading.results[i].under = leaves.index(parts[1]) if f.parts else -1
            reading.results[i].has_default = bool(f.parts) and f.default is not None
            if reading.results[i].has_default:
                reading.results[i].number = f.default
            for part in parts:
                place = leaves.index(part)
                if self.leaves[place].where == IN_RING and not (own and self.leaves[place].before):
                    groups.add(self.leaves[place].g)
        reading.groups = <int *>self.room(sizeof(int) * len(groups))
        reading.n_groups = len(groups)
        for i, g in enumerate(sorted(groups)):
            reading.groups[i] = g
        return 0
