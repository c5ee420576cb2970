"""Featurize on Apache Flink: views keyed otherwise than the topics, spread over as many machines as there are."""
