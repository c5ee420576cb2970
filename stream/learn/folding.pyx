# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The fold's step of ordinary samples and labels, compiled, in runs: what `fold` does with them, in its order, with its bits.

Laws of this file:
- Optional. What is not ordinary is left to `Fold.step` with nothing of it done: a repeat, a value outside its range, a label
  without its sample, and whatever begins or ends a block, an epoch or an hour.
- What a run counts stands here while it lasts, and in the fold before any other code that reads it is called, and at its end.
- For labels of true or false that are joined by id, while every expert has its say and nothing is held.
"""

from cpython.dict cimport PyDict_DelItem
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.object cimport PyObject
from libc.math cimport log
from libc.stdint cimport int64_t, uint64_t

import math
from hashlib import blake2b
from zlib import crc32

from penstock.monitors.inputs import guard as guards, psi as psis
from penstock.monitors.losses import drift as losses_of, expected as expectations
from penstock.monitors.quality import repeats as all_repeats
from penstock.stream.learn import births, departures, experts as all_experts, gate as gates, health, join as joins
from penstock.stream.learn import join_by_id, learner, pool, suspicion, weighing
from penstock.stream.learn import skill as skills
from penstock.stream.learn.expert import Answer
from penstock.stream.learn.experts import DELAY_RATE
from penstock.stream.learn.gate import Mixture
from penstock.stream.learn.join_by_id import JoinById
from penstock.stream.learn.records import Pending, Predicted
from penstock.stream.learn.tasks.binary import BASE_RATE, Binary
from penstock.stream.learn.watching import quality as qualities
from penstock.stream.learn.watching.estimate import Estimate
from penstock.stream.learn.watching.quality import DataQuality
from penstock.stream.learn.watching.schema import Schema
from penstock.stream.learn.watching.segment_flow import SegmentFlow
from penstock.stream.messages import LabelRecord, Origin, Sample

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object d, object key) except? NULL
    bint PyLong_CheckExact(object one)
    int64_t PyLong_AsLongLongAndOverflow(object one, int *overflow) except? -1
    ctypedef struct PyMemberDef:
        int type
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef *d_member
    ctypedef struct PyTypeObject:
        pass
    PyTypeObject PyMemberDescr_Type
    PyTypeObject *Py_TYPE(object one)

cdef extern from "structmember.h":
    int T_OBJECT_EX

cdef tuple NONE = ()
cdef int64_t MOST_SAMPLES = 1 << 31

include "folding_fields.pxi"
include "folding_state.pxi"
include "folding_samples.pxi"
include "folding_labels.pxi"


def agrees() -> bool:
    """Whether `log` has the bits here that Python gives it: it may come from another library."""
    for step in range(1, 8_000):
        value = step / 8_000.0 + step * step * 1e-12
        if log(value) != math.log(value):
            return False
    return True


cdef class Runs(Labels):
    """Steps the ordinary records of one fold, in runs."""

    def run(self, list entries, list positions, Py_ssize_t start):
        """Step entries from `start` on, up to the first that is not ordinary or behind one that made other code run.

        The place of the first that was not stepped is given.
        """
        cdef Py_ssize_t place = start
        cdef bint stepped
        if not self.begin():
            return start
        try:
            while place < len(entries) and not self.stale:
                entry = entries[place]
                if type(entry) is Sample:
                    stepped = self.sample(positions[place], entry)
                elif type(entry) is LabelRecord:
                    stepped = self.label(positions[place], entry)
                else:
                    break
                if not stepped:
                    break
                place += 1
        finally:
            self.end()
        return place
