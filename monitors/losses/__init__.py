"""Drift of the loss: sequential tests over blocks of labels, ADWIN, and tests of an error rate."""
