"""Feast's SDK over the features that Penstock keeps in Redis."""
