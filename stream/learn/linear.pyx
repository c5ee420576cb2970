# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""River's linear models, compiled: an optional standard scaler, then logistic or linear regression by SGD of a constant rate.

Laws of this file:
- Every float has river's bits: the same operations in the same order, and the C library's `pow` and `exp`, as Python calls them.
- River's model stays the truth. What is odd (a value that is no finite number, a name that is new to the model, a result that
  is not finite, parameters that are not claimed) river does itself, on its own model, with whatever it changes or raises.
- Whoever asks for the model gets river's, up to date, and may change it: it is read again at the next call.
- A call here writes nothing before it is sure that it comes to its end.
- A vector that many models are asked about is read once, and again after any of them has run Python, which may have changed it.
"""

from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_GET_ITEM
from cpython.long cimport PyLong_AsDouble, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact
from libc.float cimport DBL_MAX
from libc.math cimport exp, fabs, pow

import math

from river.compose import Pipeline
from river.linear_model import LogisticRegression

from penstock.stream.learn.claims import claimed
from penstock.stream.learn.engine import engine_of, learn as river_learns, said as river_says, taken as river_takes
from penstock.stream.learn.expert import IDLE

include "linear_slots.pxi"


def agrees() -> bool:
    """Whether `pow` and `exp` have the bits here that Python gives them: they may come from another library."""
    for step in range(-4_000, 4_000):
        value = math.exp(step / 6.0 + step * step * 1e-9)  # a Python float, so that ** is Python's
        if pow(value, HALF) != value**0.5 or exp(step / 99.7) != math.exp(step / 99.7):
            return False
    return True


def linear(model):
    """The compiled form of a model of this kind; None for every other one."""
    try:
        return None if claimed(model) is None else Linear(model)
    except Exception:  # a class of the user's may raise whatever it is asked
        return None


cdef inline double probability(double raw) noexcept:
    if raw < -30.0:
        return 0.0
    if raw > 30.0:
        return 1.0
    return 1.0 / (1.0 + exp(-raw))


cdef class Linear(Slots):
    """One linear model, answered and taught in C; `model` is river's own, always as if it had done it all itself."""

    def __reduce__(self):
        return engine_of, (self.model,)

    cdef bint raw(self, x, double *into) except -1:
        """The weighted sum of a vector; False where river must do this call."""
        return self.ready() and OFFERED.take(x) and self.weighed(into)

    cdef bint weighed(self, double *into) except -1:
        """As `raw`, of the vector that was offered last."""
        cdef Py_ssize_t i, many = self.match(False)
        cdef double total = 0.0, value
        cdef Slot *slot
        if many < 0:
            return False
        for i in range(many):
            slot, value = &self.slots[self.given[i].place], self.given[i].value
            if self.with_std:
                value = (value - slot.mean) / slot.std if slot.std != 0.0 else 0.0
            elif self.scales:
                value = value - slot.mean
            total += slot.weight * value
        into[0] = total + self.intercept
        return finite(into[0])

    # -- what is asked of it -----------------------------------------------------------------------------------------------

    def said(self, x):
        """As `engine.said` of the model."""
        cdef double raw
        if not self.raw(x, &raw) or not self.classifies:
            return river_says(self.model, x)
        return probability(raw)

    def learn(self, x, y):
        """As `engine.learn` of the model."""
        return True if self.learned(x, y) else river_learns(self.model, x, y)

    def predict_proba_one(self, x):
        """As river's."""
        cdef double raw, p
        if not self.raw(x, &raw) or not self.classifies:
            return self.model.predict_proba_one(x)
        if raw < -30.0:
            return {False: 1.0, True: 0}
        if raw > 30.0:
            return {False: 0.0, True: 1}
        p = 1.0 / (1.0 + exp(-raw))
        return {False: 1.0 - p, True: p}

    def predict_one(self, x):
        """As river's; compiled for regression only."""
        cdef double raw
        if self.raw(x, &raw) and not self.classifies:
            return raw
        return self.model.predict_one(x)

    def learn_one(self, x, y):
        """As river's."""
        if not self.learned(x, y):
            self.model.learn_one(x, y)

    cdef bint learned(self, x, y) except -1:
        """Learn one label; False where river must do it."""
        return self.ready() and OFFERED.take(x) and self.followed(y)

    cdef bint followed(self, y) except -1:
        """As `learned`, of the vector that was offered last."""
        cdef Py_ssize_t i, many
        cdef double target, total = 0.0, gradient, intercept
        if self.classifies:
            if y is not True and y is not False:
                return False
            target = 1.0 if y is True else -1.0
        elif not number(<PyObject *>y, &target):
            return False
        many = self.match(True)
        if many < 0 or (self.scales and not self.scale(many)):
            return False
        for i in range(many):
            total += self.slots[self.given[i].place].weight * self.given[i].value
        total += self.intercept
        if not finite(total):
            return False
        gradient = self.slope(total, target)
        if self.most < gradient:
            gradient = self.most
        if self.least > gradient:
            gradient = self.least
        intercept = self.intercept - self.intercept_rate * gradient
        if not finite(intercept) or not self.step(many, gradient):
            return False
        self.intercept = intercept
        self.iterations += 1
        self.ahead = True
        return True

    cdef double slope(self, double raw, double target) noexcept:
        """The loss's gradient."""
        cdef double z
        if not self.classifies:
            return 2.0 * (raw - target)
        z = raw * target
        if z > 18.0:
            return exp(-z) * -target
        if z < -18.0:
            return -target
        return -target / (exp(z) + 1.0)

    cdef bint scale(self, Py_ssize_t many) noexcept:
        """What the scaler would know after the vector in `given`, whose values are scaled by that; False where it is odd."""
        cdef Py_ssize_t i
        cdef Given *one
        cdef Slot *slot
        cdef double count, off
        for i in range(many):
            one = &self.given[i]
            slot = &self.slots[one.place]
            count = <double>(slot.count + 1)
            off = one.value - slot.mean
            one.mean = slot.mean + off / count
            one.var, one.std = slot.var, slot.std
            if not self.with_std:
                one.value = one.value - one.mean
            else:
                one.var = slot.var + (off * (one.value - one.mean) - slot.var) / count
                one.std = 0.0
                if not 0.0 <= one.var <= DBL_MAX:
                    return False
                if one.var != 0.0:
                    one.std = pow(one.var, HALF)
                    one.value = (one.value - one.mean) / one.std
                else:
                    one.value = 0.0
        return True

    cdef bint step(self, Py_ssize_t many, double gradient) noexcept:
        """Move the weights, and keep what the scaler learned; False where a weight would not be finite, and nothing is done."""
        cdef Py_ssize_t i
        cdef Given *one
        cdef Slot *slot
        cdef double own
        for i in range(many):
            one = &self.given[i]
            slot = &self.slots[one.place]
            own = one.value * gradient
            if self.l2 != 0.0:
                own = own + self.l2 * slot.weight
            one.weight = slot.weight - self.rate * own
            if not finite(one.weight):
                return False
        for i in range(many):
            one = &self.given[i]
            slot = &self.slots[one.place]
            slot.weight = one.weight
            if self.scales:
                slot.mean, slot.var, slot.std = one.mean, one.var, one.std
                slot.count += 1
        return True


include "linear_pool.pxi"
