"""Segments: the records of one value of a field. What carries an incident, and what shows in one of them alone."""
