# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the monitors of inputs do at every sample, compiled: are values in their ranges, and into which bins do they fall?

Laws of this file:
- Optional. Without it `guard` and `psi` do the same, with the same counts, by Python and numpy.
- What is no ordinary number is left to them: it has to be told apart, or to raise, as they do it.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_GET_ITEM
from cpython.long cimport PyLong_AsDouble, PyLong_AsSsize_t, PyLong_CheckExact
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_CheckExact
from libc.string cimport memcpy


cdef struct Bins:  # the ascending edges of one column, and how many values fell below each, above all, and were null
    double *edges
    long long *counts
    Py_ssize_t many
    bint odd


cdef inline Py_ssize_t bin_of(const double *edges, Py_ssize_t many, double value) noexcept:
    """How many edges lie below a value: its bin."""
    cdef Py_ssize_t low = 0, half
    while many > 1:
        half = many >> 1
        low += half if edges[low + half - 1] < value else 0
        many -= half
    return low + (edges[low] < value)


cdef inline bint number(PyObject *value, double *into) except -1:
    """Whether it is an ordinary number, and which; one that is not a number is one."""
    if PyFloat_CheckExact(<object>value):
        into[0] = PyFloat_AS_DOUBLE(<object>value)
        return True
    if PyLong_CheckExact(<object>value) or <object>value is True or <object>value is False:
        try:
            into[0] = PyLong_AsDouble(<object>value)
        except OverflowError:
            return False
        return True
    return False


def inside(list low, values, list high):
    """Whether every value lies in its range. Text bounds are text: null and a wrong type raise a TypeError."""
    cdef Py_ssize_t i
    cdef double least, value, most
    for i in range(len(low)):
        one = values[i]
        if PyFloat_CheckExact(one) and PyFloat_CheckExact(low[i]) and PyFloat_CheckExact(high[i]):
            least, value, most = PyFloat_AS_DOUBLE(low[i]), PyFloat_AS_DOUBLE(one), PyFloat_AS_DOUBLE(high[i])
            if not (least <= value and value <= most):
                return False
        elif not low[i] <= one <= high[i]:
            return False
    return True


def count(list rows, list edges, list counted):
    """Add the values of `rows`, tuples of one length, to what was `counted` (int64, as bytes), column by column.

    A column's `edges` are ascending floats, or None where it is not counted here. Values fall into the bins x <= e0, (e0, e1],
    ..., x > last, null.

    Returns:
        The counts of each column; None for one that is not counted here, or holds a value that is no ordinary number. None
        altogether where a row has another length.
    """
    cdef Py_ssize_t width = len(edges), column, i, place, many
    cdef double value
    cdef PyObject *one
    cdef Bins *bins
    cdef Bins *all_bins = <Bins *>PyMem_Malloc((width or 1) * sizeof(Bins))
    if all_bins == NULL:
        raise MemoryError()
    for column in range(width):
        all_bins[column].edges = NULL
        all_bins[column].counts = NULL
    try:
        for column in range(width):
            open_bins(&all_bins[column], edges[column], counted[column])
        for i in range(len(rows)):
            row = rows[i]
            if type(row) is not tuple or len(<tuple>row) != width:
                return None
            for column in range(width):
                bins = &all_bins[column]
                if bins.odd:
                    continue
                one = <PyObject *>PyTuple_GET_ITEM(row, column)
                if <object>one is None:
                    bins.counts[bins.many + 1] += 1
                elif not number(one, &value):
                    bins.odd = True
                elif value != value:
                    bins.counts[bins.many + 1] += 1
                else:
                    bins.counts[bin_of(bins.edges, bins.many, value)] += 1
        return [
            None if all_bins[column].odd
            else PyBytes_FromStringAndSize(<char *>all_bins[column].counts, (all_bins[column].many + 2) * sizeof(long long))
            for column in range(width)
        ]
    finally:
        for column in range(width):
            PyMem_Free(all_bins[column].edges)
            PyMem_Free(all_bins[column].counts)
        PyMem_Free(all_bins)


cdef int open_bins(Bins *bins, edges, counted) except -1:
    """Take a column's edges and what was counted of it."""
    cdef Py_ssize_t place
    bins.odd, bins.many = True, 0
    if type(edges) is not list or not len(<list>edges) or not PyBytes_CheckExact(counted):
        return 0
    bins.many = len(<list>edges)
    if PyBytes_GET_SIZE(counted) != <Py_ssize_t>((bins.many + 2) * sizeof(long long)):
        return 0
    bins.edges = <double *>PyMem_Malloc(bins.many * sizeof(double))
    bins.counts = <long long *>PyMem_Malloc((bins.many + 2) * sizeof(long long))
    if bins.edges == NULL or bins.counts == NULL:
        raise MemoryError()
    for place in range(bins.many):
        bins.edges[place] = (<list>edges)[place]
    memcpy(bins.counts, PyBytes_AS_STRING(counted), PyBytes_GET_SIZE(counted))
    bins.odd = False
    return 0


def count_by_place(list rows, list edges, Py_ssize_t places, Py_ssize_t most, into):
    """Add the values of `rows` to what was counted by place, column and bin: doubles, `places` x columns x `most` of them.

    A row is the tuple of its places, the list of its values but the last, and the last. A column's `edges` are ascending floats,
    at most `most` - 2, or the bin of each text. Values fall into the bins x <= e0, (e0, e1], ..., x > last; text without a bin
    into the last but one of `most`, null into the last.

    Returns:
        The columns that hold a value that is no ordinary number, or no text: nothing is added to those. None, with nothing added,
        where rows are not of one shape or name a place that there is not.
    """
    cdef Py_ssize_t width = len(edges), fields = -1, column, field, i, place, one_bin, stride = places * most
    cdef PyObject *one
    cdef double *target
    cdef Py_buffer view
    cdef long long *counts = NULL
    cdef Bins *all_bins = NULL
    PyObject_GetBuffer(into, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    try:
        if width == 0 or view.len != <Py_ssize_t>(places * width * most * sizeof(double)):
            raise ValueError("the counts are not of the shape that places, columns and bins make")
        all_bins = <Bins *>PyMem_Calloc(width, sizeof(Bins))
        counts = <long long *>PyMem_Calloc(width * stride, sizeof(long long))
        if all_bins == NULL or counts == NULL:
            raise MemoryError()
        for column in range(width):
            open_edges(&all_bins[column], edges[column], most)
        for i in range(len(rows)):
            row = rows[i]
            if type(row) is not tuple or len(<tuple>row) != 3:
                return None
            placed, x, last = <tuple>row
            if type(placed) is not tuple or type(x) is not list or len(<list>x) != width - 1:
                return None
            if fields < 0:
                fields = len(<tuple>placed)
            elif len(<tuple>placed) != fields:
                return None
            for field in range(fields):
                place = (<tuple>placed)[field]
                if place < 0 or place >= places:
                    return None
            for column in range(width):
                if all_bins[column].odd:
                    continue
                one = <PyObject *>last if column == width - 1 else <PyObject *>PyList_GET_ITEM(x, column)
                one_bin = bin_among(&all_bins[column], edges[column], one, most)
                if one_bin < 0:
                    all_bins[column].odd = True
                    continue
                for field in range(fields):
                    place = PyLong_AsSsize_t(<object>PyTuple_GET_ITEM(placed, field))
                    counts[column * stride + place * most + one_bin] += 1
        target = <double *>view.buf
        for column in range(width):
            if all_bins[column].odd:
                continue
            for place in range(places):
                for one_bin in range(most):
                    target[(place * width + column) * most + one_bin] += counts[column * stride + place * most + one_bin]
        return [column for column in range(width) if all_bins[column].odd]
    finally:
        if all_bins != NULL:
            for column in range(width):
                PyMem_Free(all_bins[column].edges)
        PyMem_Free(all_bins)
        PyMem_Free(counts)
        PyBuffer_Release(&view)


cdef inline Py_ssize_t bin_among(Bins *bins, edges, PyObject *one, Py_ssize_t most) except -2:
    """The bin of a value; -1 where it is not to be found here."""
    cdef double value
    cdef PyObject *known
    if <object>one is None:
        return most - 1
    if bins.edges == NULL:
        if not PyUnicode_CheckExact(<object>one):
            return -1
        known = PyDict_GetItemWithError(edges, <object>one)
        return most - 2 if known == NULL else PyLong_AsSsize_t(<object>known)
    if not number(one, &value):
        return -1
    if value != value:
        return most - 1
    return bin_of(bins.edges, bins.many, value) if bins.many else 0


cdef int open_edges(Bins *bins, edges, Py_ssize_t most) except -1:
    """Take a column's edges, or see that it has a bin for each text."""
    cdef Py_ssize_t place
    if type(edges) is dict:
        for found in (<dict>edges).values():
            if not 0 <= found < most:
                raise ValueError(f"the bin {found} of a text is none of {most}")
        return 0
    if type(edges) is not list or len(<list>edges) > most - 2:
        raise ValueError(f"edges are a list of at most {most - 2} numbers, or a dict")
    bins.edges = <double *>PyMem_Malloc((len(<list>edges) or 1) * sizeof(double))
    if bins.edges == NULL:
        raise MemoryError()
    bins.many = len(<list>edges)
    for place in range(bins.many):
        bins.edges[place] = (<list>edges)[place]
    return 0
