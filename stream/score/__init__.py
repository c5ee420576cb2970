"""Predictions in bulk: rows of a file or a topic, with vectors as given, logged, of then or of now; by models of then or now."""
