"""History in files: state, samples and a model as if the topics had been read from long ago, and then the topics themselves."""
