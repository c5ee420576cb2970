"""Which settings of the alarms suit a pipeline's own history: what there would have been, and what it was worth."""
