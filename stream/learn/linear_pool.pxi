# The vector of a sample; what several experts say of one, and what they learn from one label, in one call.
# Included by linear.pyx.

def vector(names, values):
    """As `learner.vector`."""
    cdef Py_ssize_t i
    cdef dict x = {}
    if type(names) is not list or type(values) is not list or len(<list>names) != len(<list>values):
        return river_takes(names, values)
    for i in range(len(<list>names)):
        name, value = (<list>names)[i], (<list>values)[i]
        if value is not None and name is not None:
            x[name] = value
    return x


def is_repeat(dict newest, origin):
    """As `learner.Seen.is_repeat`, of what it holds."""
    place, here = (origin.topic_id, origin.partition), origin.offset * 4 + origin.sub
    if here <= newest.get(place, -1):
        return True
    newest[place] = here
    return False


def ask(list experts, x, inside, asleep, list answers):
    """Append to `answers` what all experts but the first say of `x`, as `pool.ask_by` does: how many did, and if one failed."""
    cdef Py_ssize_t place, asked = 0
    cdef double raw
    cdef bint read = False, silent = False
    for place in range(1, len(experts)):
        if asleep and asleep[place]:
            answers.append(None)
            continue
        one = experts[place]
        engine = one.engine
        seen = inside if inside is not x and one.kind == "careful" else x
        if seen is x and type(engine) is Linear and (<Linear>engine).loaded and (<Linear>engine).classifies:
            read = read or OFFERED.take(x)
            if read and (<Linear>engine).ready() and (<Linear>engine).weighed(&raw):
                answers.append(probability(raw))
                asked += 1
                if one.failures:
                    one.failures = 0
                continue
        p, read = engine.said(seen), False
        answers.append(p)
        if p is None:
            one.failures += 1
            silent = True
            continue
        asked += 1
        if one.failures:
            one.failures = 0
    return asked, silent


def teach(list experts, x, inside, y):
    """Teach `x` and its label to all that learn, as `pool.teach_by` does: how many learned it, and whether one did not."""
    cdef Py_ssize_t taught = 0
    cdef bint read = False, dull = False, learned
    for one in experts:
        kind = one.kind
        if kind in IDLE:
            continue
        engine = one.engine
        seen = inside if inside is not x and kind == "careful" else x
        learned = False
        if seen is x and type(engine) is Linear and (<Linear>engine).loaded:
            read = read or OFFERED.take(x)
            learned = read and (<Linear>engine).ready() and (<Linear>engine).followed(y)
        if not learned:
            learned, read = engine.learn(seen, y), False
        if learned:
            taught += 1
            if one.unlearned:
                one.unlearned = 0
        else:
            one.unlearned += 1
            dull = True
        one.taught += 1
    return taught, dull
