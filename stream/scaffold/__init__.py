"""A new pipeline from answers: its definition, its test and its compose file, as text."""
