"""Features as they were: for each row of a table of entities and times, from all events in files or topics.

`asks` reads the rows, `spread` the events; both lay what belongs to an entity into one bucket (`spool`). `fold` goes through
each bucket by itself, entity by entity, and `run` puts the answers beside the rows.
"""
