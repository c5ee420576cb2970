# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What featurize does with every ordinary record, compiled: it is checked, its entities are named, it is stepped and encoded.

Laws of this file:
- Optional, and the same bytes: `decode`, `keys` and `step` say what is done. A record that is not ordinary (it cannot be used, a
  part of its key is null, its label is odd, it is one to look at, …) is left to them, with nothing of it done yet.
- What a run counts stands in the `Featurize` when the run is over, also when it is over because something raised.
"""

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from penstock.features.redis.keys import entity_of
from penstock.features.units import UNIT_BYTES, UNIT_KEYS
from penstock.stream.featurize.decode import END_OF_TIME_MS, MAX_EVENT_BYTES, MAX_KEY_CHARACTERS, Item
from penstock.stream.featurize.labels import label_of
from penstock.stream.formats.nesting import MOST_NESTED, too_deep
from penstock.stream.log.protocol import Out, Record
from penstock.stream.messages import LabelRecord, Origin, Sample, encode_entry

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        PyObject *(*tp_alloc)(PyTypeObject *kind, Py_ssize_t n) except NULL
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    const uint8_t *PyUnicode_1BYTE_DATA(object text)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    int64_t PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    PyObject *PyDict_GetItemWithError(object d, object key) except? NULL
    void Py_DECREF(PyObject *one)

cdef int64_t END_OF_TIME = END_OF_TIME_MS, MOST_BYTES = MAX_EVENT_BYTES, MOST_CHARACTERS = MAX_KEY_CHARACTERS
cdef int64_t KEYS = UNIT_KEYS, BYTES = UNIT_BYTES, NESTED = MOST_NESTED
cdef int64_t LEAST_WHOLE = INT64_MIN
cdef tuple NOTHING = ()
cdef object FIRST = 0

include "stepping_packing.pxi"
include "stepping_decoding.pxi"


cdef class Route:
    """What one event of a source does, as its `SourcePlan` says."""

    cdef object outcome, topic_id
    cdef bint predicts, keyed
    cdef tuple key_fields
    cdef list views, inputs

    def __init__(self, plan, topic_id, inputs):
        self.outcome, self.predicts, self.key_fields = plan.outcome, plan.predicts, plan.key_fields
        self.keyed = len(plan.key_fields) == 1
        self.topic_id, self.inputs = topic_id, list(inputs)
        self.views = [
            (number, view.update_own if plan.predicts else view.update, view.vector, place, own)
            for number, view, place, own in plan.views
        ]


cdef class Stepper:
    """Steps the ordinary items of one `Featurize`, in runs. `look_every` is how often one is not ordinary."""

    cdef object featurize, counts, topic, digest
    cdef list routes, states, dirty, large
    cdef dict positions, last
    cdef bint boolean, open
    cdef object kind
    cdef int64_t look_every, looks, items, samples, labels, out_bytes, dirty_count, dirty_bytes, now_at

    def __init__(self, featurize, int64_t look_every):
        self.featurize, self.look_every = featurize, look_every
        self.kind, self.boolean = featurize.target_kind, featurize.target_kind == "boolean"
        self.topic, self.states = featurize.samples_topic, featurize.states
        self.routes = [
            Route(plan, topic_id, featurize.pipeline.inputs)
            for plan, topic_id in zip(featurize.plans, featurize.topic_ids, strict=True)
        ]
        self.open = False

    cdef bint begin(self) except -1:
        """Take up where the `Featurize` stands; False while it counts dead letters, which takes every record."""
        of = self.featurize
        if of.dead_share.windows:
            return False
        self.positions, self.counts, self.dirty, self.large = of.positions, of.counts, of.dirty, of.large
        self.digest, self.looks, self.now_at = of.digest, of.looks, of.now_at
        self.dirty_count, self.dirty_bytes, self.out_bytes = of.dirty_count, of.dirty_bytes, of.out_bytes
        self.items = self.samples = self.labels = 0
        self.last = {}
        self.open = True
        return True

    cdef end(self):
        """Let the `Featurize` know what was done."""
        of, counts = self.featurize, self.counts
        self.open = False
        of.now_at, of.dirty_count, of.dirty_bytes = self.now_at, self.dirty_count, self.dirty_bytes
        of.out_bytes = self.out_bytes
        counts.items += self.items
        counts.samples += self.samples
        counts.labels += self.labels
        for head, item in self.last.items():
            place = self.positions[head]
            place.offset, place.newest_at = (<tuple>item)[3] + 1, (<tuple>item)[4]

    cdef bint full(self) noexcept:
        """As `Featurize.unit_is_full`."""
        return self.dirty_count * 2 >= KEYS or self.dirty_bytes >= BYTES or self.out_bytes >= BYTES * 8

    cdef bint step(self, tuple item, list keys, list outs) except -1:
        """As `Featurize.step` of an ordinary item; False for every other one, of which nothing is done."""
        cdef Route route = self.routes[<Py_ssize_t>item[1]]
        cdef int64_t at = item[0], offset = item[3]
        cdef list vector = None
        event, y = item[6], None
        if not PyDict_CheckExact(event) or (self.looks >= 0 and offset % self.look_every == self.looks):
            return False
        for entity in keys:
            if entity is None:
                return False
        if route.outcome is not None:
            try:
                y = route.outcome(event)
                if y is not None and not (self.boolean and (y is True or y is False)):
                    y = label_of(y, self.kind)
            except Exception:
                return False
        self.last[(item[1], item[2])] = item
        self.items += 1
        if at > self.now_at:
            self.now_at = at
        vector = self.update(route, item, event, keys, offset)
        if route.predicts:
            key = event[route.key_fields[0]] if route.keyed else entity_of(event, route.key_fields)
            key = "" if key is None else str(key)
            self.emit(packed_sample(route.topic_id, item, key, vector, self.digest), outs)
            self.samples += 1
        if y is not None:
            self.emit(packed_label(route.topic_id, item, y), outs)
            self.labels += 1
        return True

    cdef list update(self, Route route, tuple item, dict event, list keys, int64_t offset):
        """As `Featurize._update`."""
        cdef list vector = [event[name] for name in route.inputs] if route.predicts else None
        cdef tuple view
        cdef set dirty
        tie = (<int64_t>item[2] << 48) | offset
        at = item[0]
        for view in route.views:
            number, fold, read, place, own = view
            entity = keys[<Py_ssize_t>place]
            state = (<dict>self.states[<Py_ssize_t>number])[entity]
            if own:
                if route.predicts:
                    vector += <list>fold(state, at, tie, event)
                else:
                    fold(state, at, tie, event)
                dirty = self.dirty[<Py_ssize_t>number]
                if entity not in dirty:
                    dirty.add(entity)
                    self.dirty_count += 1
                    self.dirty_bytes += (<dict>self.large[<Py_ssize_t>number]).get(entity, 0)
            else:
                if state.newest < 0:
                    self.counts.defaults[number] += 1
                vector += <list>read(state, at)
        return vector

    cdef emit(self, bytes entry, list outs):
        outs.append(new_out(self.topic, entry))
        self.out_bytes += PyBytes_GET_SIZE(entry)


def run(dict steppers, list items, list entities, Py_ssize_t start, int64_t before_at, list outs, dict touched):
    """Step items from `start` on, with the `Stepper` of their partition: up to the first that is not ordinary, has none, or lies
    at `before_at` or behind, and no further than the item that fills a unit. Their outputs go to `outs`, the partitions to
    `touched`; the place of the first item that was not stepped is given.
    """
    cdef Py_ssize_t place = start
    cdef Stepper stepper
    cdef tuple item
    cdef list opened = []
    try:
        while place < len(items):
            item = <tuple>items[place]
            found = PyDict_GetItemWithError(steppers, item[2])
            if found is NULL or <int64_t>item[0] >= before_at:
                break
            stepper = <Stepper>found
            if not stepper.open:
                if not stepper.begin():
                    break
                opened.append(stepper)
            if not stepper.step(item, entities[place], outs):
                break
            if item[2] not in touched:
                touched[item[2]] = None
            place += 1
            if stepper.full():
                break
    finally:
        for one in opened:
            (<Stepper>one).end()
    return place
