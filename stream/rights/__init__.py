"""What each role may do in Kafka and in Redis, and no more: derived from a definition, printed as the servers' own commands."""
