"""Definitions of other feature stores as a Penstock definition: what of them can be said in it, and why the rest cannot."""
