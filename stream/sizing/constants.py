"""What was measured once, on two cores of an AMD EPYC, and cannot be measured in a process without servers.

Law of this file: each constant says where it was taken; benchmarks/README.md has the runs.
"""

from __future__ import annotations

#: CPU of the clients, the scripts and the loop beside the step itself, µs an event: featurize from Kafka into Redis takes
#: 16 µs, of which the step is 6 (`penstock bench features`, 62,000 events a CPU second).
FEATURIZE_CLIENTS_US = 10.0
#: The same of learn: reading a sample and writing a prediction through librdkafka.
LEARN_CLIENTS_US = 10.0
#: What Redis' own one thread takes for a unit's share of an event, µs: one script for about 100 events.
REDIS_US = 6.0
#: What Kafka takes for a record in and out, µs.
KAFKA_US = 4.0
#: Of a core, so much may be used in the long run: the rest is for catching up, retrains and garbage.
FILLED = 0.6

#: What Redis keeps beside a key's name and value: entries of its table, headers, and what jemalloc rounds up by (`INFO memory`
#: of Valkey 9 with 20,000 states of 200 to 2,000 bytes).
REDIS_KEY_BYTES = 90
#: The batch header of Kafka's format v2, spread over the records of one batch, and what a record takes beside key and value.
KAFKA_RECORD_BYTES = 12
#: Resident memory of a role with nothing to do yet, MiB (`/proc/self/status` after the start, examples/cards.py).
ROLE_MIB = {"featurize": 130, "learn": 150, "control": 110, "serve": 160}
#: A state that featurize keeps in memory (`featurize.worker.KEPT_STATES` at most) takes so many times its encoded size.
STATE_IN_MEMORY = 3.0
#: A sample that waits for its label in learn takes so many times its encoded size.
PENDING_IN_MEMORY = 4.0
