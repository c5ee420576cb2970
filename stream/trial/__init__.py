"""Wire tests of a definition: events in, and samples, labels, dead letters and documents out, compared line by line."""
