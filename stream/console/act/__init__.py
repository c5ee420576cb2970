"""What people may ask for from a page: the acts, what their forms hold, and what each would do.

`acts` is the table, `asked` makes the request of a form, `preview` says what it would do, `answer` what became of it.
"""
