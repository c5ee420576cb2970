"""Features and state in Redis: the keys, and the exactly-once unit of work."""
