"""Statistics of drift: pure, deterministic, picklable. Event time and positions in, transitions out."""
