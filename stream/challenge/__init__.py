"""Beside step two: a race of other models over the same samples log, in a process of its own; what wins takes part in learn."""
