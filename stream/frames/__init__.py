"""A pipeline as frames, for notebooks: features, training sets, predictions, history, episodes and what-ifs."""
