# What a compiled linear model knows, by name: read from river's model, written back to it, and found for a vector.
# Included by linear.pyx.

cdef extern from "Python.h":
    int PyDict_Next(object, Py_ssize_t *, PyObject **, PyObject **)
    PyObject *PyDict_GetItemWithError(object, object)
    bint PyBool_Check(PyObject *)

cdef double HALF = 0.5  # no constant: the compiler may not make a square root of a power, which has other bits
cdef long long MOST_COUNT = 4_503_599_627_370_496  # 2**52: above it an integer is no longer one float
cdef Py_ssize_t LOOKS = 24  # names that are compared by identity before one is looked up

cdef struct Slot:  # what the model knows of one name
    double mean
    double var
    double std
    double weight
    long long count
    bint answers  # a prediction with it changes no dictionary of river
    bint learns  # it stands in all of them

cdef struct Given:  # one value of a vector, and what would become of its slot
    Py_ssize_t place
    double value
    double mean
    double var
    double std
    double weight


cdef inline bint finite(double value) noexcept:
    return fabs(value) <= DBL_MAX


cdef inline bint number(PyObject *value, double *into):
    """Whether it is an ordinary number, and which."""
    if PyFloat_CheckExact(<object>value):
        into[0] = PyFloat_AS_DOUBLE(<object>value)
        return finite(into[0])
    if PyLong_CheckExact(<object>value) or PyBool_Check(value):
        try:
            into[0] = PyLong_AsDouble(<object>value)
        except OverflowError:
            return False
        return True
    return False


cdef class Offered:
    """The vector that models are asked about, or taught, read once for all of them. The names are only borrowed from it."""

    cdef PyObject **names
    cdef double *values
    cdef Py_ssize_t many, room

    def __dealloc__(self):
        PyMem_Free(self.names)
        PyMem_Free(self.values)

    cdef bint take(self, x) except -1:
        """Read a vector; False where it is no plain dictionary of ordinary numbers."""
        cdef Py_ssize_t at = 0
        cdef PyObject *name
        cdef PyObject *value
        self.many = 0
        if type(x) is not dict:
            return False
        if len(<dict>x) > self.room:
            self.enlarge(2 * len(<dict>x))
        while PyDict_Next(x, &at, &name, &value):
            if not number(value, &self.values[self.many]):
                return False
            self.names[self.many] = name
            self.many += 1
        return True

    cdef int enlarge(self, Py_ssize_t room) except -1:
        PyMem_Free(self.names)
        PyMem_Free(self.values)
        self.room = 0
        self.names = <PyObject **>PyMem_Malloc(room * sizeof(PyObject *))
        self.values = <double *>PyMem_Malloc(room * sizeof(double))
        if self.names == NULL or self.values == NULL:
            raise MemoryError()
        self.room = room
        return 0


cdef Offered OFFERED = Offered()


cdef class Slots:
    """The numbers of one model in C, and river's model that they were read from."""

    cdef object river, scaler, last
    cdef dict places
    cdef list seen
    cdef Slot *slots
    cdef Given *given
    cdef Py_ssize_t many, room
    cdef double intercept, rate, intercept_rate, l2, most, least
    cdef long long iterations
    cdef readonly bint loaded
    cdef bint ahead, scales, with_std, classifies

    def __cinit__(self, model):
        self.river = model
        self.seen = []
        self.places = {}

    def __dealloc__(self):
        PyMem_Free(self.slots)
        PyMem_Free(self.given)

    @property
    def model(self):
        """River's model, as it is now; whoever changes it changes this."""
        self.write()
        self.loaded = False
        return self.river

    # -- river's model, read and written -----------------------------------------------------------------------------------

    cdef bint ready(self) except -1:
        """Whether the next call may be done here: what river's model holds has been read, and it is of this kind."""
        if Pipeline._LEARN_UNSUPERVISED_DURING_PREDICT is not False:
            return False
        if self.loaded:
            return True
        try:
            self.loaded = self.read()
        except Exception:
            self.loaded = False
        return self.loaded

    cdef bint read(self) except -1:
        claim = claimed(self.river)
        if claim is None:
            return False
        scaler, last = claim
        weights, factory, mask, _ = last._weights.__reduce__()[1]
        if factory is not None or mask is not None or type(last.intercept) is not float or not finite(last.intercept):
            return False
        if type(last.optimizer.n_iterations) is not int:
            return False
        self.scaler, self.last, self.scales = scaler, last, scaler is not None
        self.with_std = self.scales and scaler.with_std
        self.classifies = type(last) is LogisticRegression
        self.intercept, self.iterations = last.intercept, last.optimizer.n_iterations
        self.rate, self.intercept_rate = last.optimizer.lr.learning_rate, last.intercept_lr.learning_rate
        self.l2, self.most, self.least = last.l2, last.clip_gradient, -last.clip_gradient
        if not self.read_slots(weights):
            return False
        if type(self.river) is Pipeline:
            # river makes its plan at the first call: until then it does the calls
            others = self.river._inference_transformers
            if self.river._last_step_cached is not last or len(others) != self.scales or (others and others[0] is not scaler):
                return False
        return True

    cdef bint read_slots(self, dict weights) except -1:
        """Everything known by name; False where a number is not what river makes."""
        cdef Slot *slot
        if self.scales:
            counts, means, vars_ = self.scaler.counts, self.scaler.means, self.scaler.vars
        else:
            counts = means = vars_ = {}
        names = list(dict.fromkeys([*counts, *means, *vars_, *weights]))
        if names != list(self.places):
            if any(type(name) is not str for name in names):
                return False
            self.seen, self.places = list(names), {name: place for place, name in enumerate(names)}
        self.many = len(names)
        if self.many > self.room or self.slots == NULL:
            self.enlarge(2 * self.many + 8)
        for place in range(self.many):
            slot, name = &self.slots[place], names[place]
            count, mean = counts.get(name, 0), means.get(name, 0.0)
            var, weight = vars_.get(name, 0.0), weights.get(name, 0.0)
            if type(count) is not int or type(mean) is not float or type(var) is not float or type(weight) is not float:
                return False
            slot.count, slot.mean, slot.var, slot.weight = count, mean, var, weight
            if not (finite(mean) and finite(weight) and 0.0 <= slot.var <= DBL_MAX and 0 <= slot.count < MOST_COUNT):
                return False
            slot.std = pow(slot.var, HALF) if self.with_std and slot.var != 0.0 else 0.0
            slot.learns, slot.answers = name in weights, True
            if self.scales:
                has_mean, has_var = name in means, name in vars_
                slot.learns = slot.learns and name in counts and has_mean and (has_var or not self.with_std)
                slot.answers = has_var and (has_mean or slot.var == 0.0) if self.with_std else has_mean
        return True

    cdef int enlarge(self, Py_ssize_t room) except -1:
        PyMem_Free(self.slots)
        PyMem_Free(self.given)
        self.room = 0
        self.slots = <Slot *>PyMem_Malloc(room * sizeof(Slot))
        self.given = <Given *>PyMem_Malloc(room * sizeof(Given))
        if self.slots == NULL or self.given == NULL:
            raise MemoryError()
        self.room = room
        return 0

    cdef int write(self) except -1:
        """Bring river's model up to date. All names that were learned here stand in its dictionaries already."""
        cdef Slot *slot
        if not self.ahead:
            return 0
        weights, last = self.last._weights, self.last
        for name, place in self.places.items():
            slot = &self.slots[<Py_ssize_t>place]
            if not slot.learns:
                continue
            weights[name] = slot.weight
            if self.scales:
                self.scaler.counts[name] = slot.count
                self.scaler.means[name] = slot.mean
                if self.with_std:
                    self.scaler.vars[name] = slot.var
        last.intercept, last.optimizer.n_iterations = self.intercept, self.iterations
        self.ahead = False
        return 0

    # -- vectors -----------------------------------------------------------------------------------------------------------

    cdef Py_ssize_t place(self, PyObject *name, Py_ssize_t expected) except -2:
        """Where a name's slot is, or -1. Names nearly always come as the same objects, in the same order."""
        cdef Py_ssize_t looked = 0
        cdef PyObject *found
        cdef object place
        while looked < self.many and looked < LOOKS:
            if expected >= self.many:
                expected = 0
            if <PyObject *>PyList_GET_ITEM(self.seen, expected) == name:
                return expected
            expected += 1
            looked += 1
        if not PyUnicode_CheckExact(<object>name):
            return -1
        found = PyDict_GetItemWithError(self.places, <object>name)
        if found == NULL:
            return -1
        place = <object>found
        self.seen[<Py_ssize_t>place] = <object>name
        return place

    cdef Py_ssize_t match(self, bint learns) except -2:
        """Put the offered vector's places and numbers into `given`: how many they are, or -1 where river must do this call."""
        cdef Py_ssize_t at, many = 0, place = -1
        cdef PyObject *name
        cdef Slot *slot
        cdef Given *one
        for at in range(OFFERED.many):
            name = OFFERED.names[at]
            place += 1
            if place >= self.many or <PyObject *>PyList_GET_ITEM(self.seen, place) != name:
                place = self.place(name, place)
            if place < 0:
                if learns or self.scales or not PyUnicode_CheckExact(<object>name):
                    return -1
                continue  # river gives a name that it knows no weight of the weight nought
            slot, one = &self.slots[place], &self.given[many]
            if not (slot.learns if learns else slot.answers):
                return -1
            one.place, one.value = place, OFFERED.values[at]
            many += 1
        return many
