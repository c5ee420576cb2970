# cython: language_level=3, cdivision=True
"""The engine of a view in C: the same `Program` as the Python engine, walked as a plan over C arrays.

Laws that hold in this file and in `engine/*.pxi`:
- Equal, bit by bit, to `python_engine` in every value and every encoded byte: the same operations on floats in the same
  order, and nothing that a compiler may reorder. A state that one writes the other reads.
- A state is one C structure without reference cycles; the cycle collector does not see it.
- While a call works on a state, no other may begin: it says so instead (Python code can run in between).
- Stored bytes are not believed: what is no state raises `StateMismatch`, and nothing is read past its end.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsDouble
from cpython.object cimport PyObject, PyObject_IsTrue
from cpython.ref cimport Py_INCREF, Py_XDECREF, Py_XINCREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.math cimport INFINITY, log, pow, signbit, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

import msgspec

from penstock.features.windows.aggregates import FUNCTIONS, NEVER, OPS
from penstock.features.define.expressions import expression
from penstock.features.define.kinds import BEFORE, COMPUTED, MOST_VALUE
from penstock.features.engine.packing import StateMismatch
from penstock.features.engine.program import columns_of
from penstock.features.engine.python_engine import PythonEngine
from penstock.features.windows.sketches import is_bucket, value_hash
from penstock.features.units import Write

cdef extern from *:
    """
    /* Not literals, so that no compiler makes another function of pow() or log(). */
    static volatile double TWO = 2.0, HALF = 0.5;
    """
    double TWO, HALF

cdef int64_t NEVER_MS = NEVER
cdef double MOST_NUMBER = MOST_VALUE

include "c/distinct.pxi"
include "c/columns.pxi"
include "c/sets.pxi"
include "c/rings.pxi"
include "c/blocks.pxi"
include "c/sessions.pxi"
include "c/values.pxi"
include "c/writing.pxi"
include "c/parsing.pxi"
include "c/plan.pxi"
include "c/state.pxi"
include "c/folding.pxi"
include "c/reading.pxi"
include "c/coding.pxi"
include "c/documents.pxi"
include "c/resp.pxi"


cdef class NativeEngine(Plan):
    """The functions of one view; see `compute.CompiledView`, which chooses between this and `PythonEngine`."""

    def new(self):
        """Make the state of an entity without events."""
        return state_new(self)

    def update(self, NativeState state not None, int64_t at, int64_t tie, event):
        """Fold one event in."""
        cdef Scratch *scratch = state_begin(self, state)
        try:
            observe(self, scratch, at, tie, event)
            fold(self, state, scratch)
            if at > state.newest_ms:
                state.newest_ms = at
        finally:
            state_end(self, state, scratch)

    def update_own(self, NativeState state not None, int64_t at, int64_t tie, event):
        """Fold one event in, and give the vector for the event itself."""
        cdef Scratch *scratch = state_begin(self, state)
        try:
            observe(self, scratch, at, tie, event)
            read_before(self, state, scratch, at)
            fold(self, state, scratch)
            if at > state.newest_ms:
                state.newest_ms = at
            return read(self, state, &self.own, state.newest_ms, scratch)
        finally:
            state_end(self, state, scratch)

    def values(self, NativeState state not None, int64_t at):
        """Give every value as of `max(at, newest event)`."""
        cdef Scratch *scratch = state_begin(self, state)
        try:
            return read(self, state, &self.every, max(at, state.newest_ms), NULL)
        finally:
            state_end(self, state, scratch)

    def vector(self, NativeState state not None, int64_t at):
        """Give the values of the numeric features."""
        cdef Scratch *scratch = state_begin(self, state)
        try:
            return read(self, state, &self.numeric, max(at, state.newest_ms), NULL)
        finally:
            state_end(self, state, scratch)

    def until(self, NativeState state not None, int64_t at):
        """When a windowed value next changes if no event arrives; None if it never does."""
        cdef Scratch *scratch = state_begin(self, state)
        cdef int64_t until
        try:
            until = until_ms(self, state, max(at, state.newest_ms))
            return None if until == ALWAYS else until
        finally:
            state_end(self, state, scratch)

    def encode(self, NativeState state not None):
        """Give the canonical MessagePack of the state."""
        cdef Scratch *scratch = state_begin(self, state)
        cdef Writer w
        w.p, w.n, w.room, w.failed = NULL, 0, 0, False
        try:
            put_state(self, state, &w)
            return taken(&w)
        finally:
            free(w.p)
            state_end(self, state, scratch)

    def document(self, NativeState state not None, int64_t at, int64_t written):
        """Give the public JSON document as of `max(at, newest event)`."""
        cdef Scratch *scratch = state_begin(self, state)
        cdef Writer w
        w.p, w.n, w.room, w.failed = NULL, 0, 0, False
        try:
            put_document(self, state, scratch, max(at, state.newest_ms), written, &w)
            return taken(&w)
        finally:
            free(w.p)
            state_end(self, state, scratch)

    def writes(self, dict states, entities, str stored, str public, int64_t at, int64_t written, int64_t ttl):
        """Give what is to be written of these entities, as `units.Write`; nothing public without a prefix for it."""
        cdef Scratch *scratch
        cdef NativeState state
        cdef Writer w
        cdef list found = []
        w.p, w.n, w.room, w.failed = NULL, 0, 0, False
        try:
            for entity in entities:
                state = states[entity]
                scratch = state_begin(self, state)
                try:
                    put_state(self, state, &w)
                    packed = taken(&w)
                    if not public:
                        found.append(new_tuple(Write, (stored + entity, packed, "", b"", 0)))
                        continue
                    put_document(self, state, scratch, max(at, state.newest_ms), written, &w)
                    found.append(new_tuple(Write, (stored + entity, packed, public + entity, taken(&w), ttl)))
                finally:
                    state_end(self, state, scratch)
            return found
        finally:
            free(w.p)

    def decode(self, bytes data not None):
        """Restore a state; raises `StateMismatch`."""
        try:
            return get_state(self, data)
        except StateMismatch:
            raise
        except (ValueError, TypeError, RecursionError) as problem:
            raise StateMismatch(f"stored state is unreadable: {problem}") from None

    def merge(self, NativeState a not None, NativeState b not None):
        """Give the state of the events of both; rare, so the Python engine does it."""
        python = self.twin = self.twin or PythonEngine(self.program, self.names, self.version)
        merged = python.merge(python.decode(self.encode(a)), python.decode(self.encode(b)))
        return self.decode(python.encode(merged))
