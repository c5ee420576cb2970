"""What the console reads, at the edge: the topics it follows, the looks of `penstock status`, and what single pages ask for."""
