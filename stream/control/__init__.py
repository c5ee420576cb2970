"""Step three: which requests become commands: approval, cooldown, schedule, audit."""
