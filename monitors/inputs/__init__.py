"""Drift of the inputs: the population stability index, ranges and shares of nulls."""
