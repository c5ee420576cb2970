# cython: language_level=3, cdivision=True
# Which names of weighing.py hold C numbers where it is compiled.
cimport cython

cimport libc.math as math

@cython.locals(most=double, many=Py_ssize_t, a=double, b=double, c=double, raw_a=double, raw_b=double, raw_c=double,
               all_a=double, all_b=double, all_c=double, i=Py_ssize_t, p=double, x=double, v=double, z=double)
cpdef mix(list slow, list middle, list fast, list rate_weights, said, double least, boosted, double boost)

@cython.locals(most=double, many=Py_ssize_t, count=Py_ssize_t, first=double, second=double, third=double, all_a=double,
               all_b=double, all_c=double, i=Py_ssize_t, p=double, x=double, v=double, z=double, gain=double, times=double,
               keep=double, part=double)
cpdef charge(list slow, list middle, list fast, said, mixed, double least, bint y, double rate, boosted, double boost,
             double share, double live, list charged)

@cython.locals(most=double, live=double, a=double, b=double, c=double, x=double, v=double, z=double, keep=double, part=double)
cpdef double settle(list slow, list middle, list fast, list rate_weights, said, rates, double p, double least, bint y,
                    double rate, boosted, double boost, double share, double outer_rate, double outer_share,
                    list charged) except? -1.0

@cython.locals(i=Py_ssize_t, x=double, v=double)
cpdef add(list losses, list charged)

@cython.locals(a=double, b=double, c=double, i=Py_ssize_t, x=double, v=double, z=double, found=list)
cpdef totals(list slow, list middle, list fast, list rate_weights)
