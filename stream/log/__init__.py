"""The log: what Penstock needs from Kafka, on Kafka and in memory, and the clients beside it."""
