"""From the bytes of a topic to events, whatever format its producers write: Avro, Protobuf, JSON Schema, Debezium's envelopes."""
