"""How much CPU, memory, Kafka and Redis a pipeline takes: measured on its own definition, and multiplied."""
