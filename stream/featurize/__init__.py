"""Step one: events become features in Redis, and samples in the samples log."""
