"""Step three: which requests become commands: approval, schedule, audit, and a cooldown between retrain jobs."""
