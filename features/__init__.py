"""Online features per entity: what a definition file needs. The rest is imported from its own module."""

from features.definitions import View, count, last, max, mean, min, since_last, sum

__all__ = ["View", "count", "last", "max", "mean", "min", "since_last", "sum"]
