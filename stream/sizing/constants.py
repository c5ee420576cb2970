"""What cannot be measured in a process without servers, and so was measured once.

Laws of this file:
- Each constant says whether it is measured, and by which run; benchmarks/README.md has the figures and the machine: two cores of
  an AMD EPYC, Valkey 9, Kafka 4.1 with a heap of 768 MB. On another machine they are estimates.
- What nobody measured is called an estimate.
"""

from __future__ import annotations

#: CPU of a role beyond what the same work takes in one process on a log and a store in memory, us: for a record of a source, and
#: for a sample with its label. Between two points of `penstock bench size --events 240000`, the cards (3.9 and 8.2) and the
#: flights (7.8 and 24); the other points of that run were not looked at.
FEATURIZE_CLIENTS_US = 5.5
LEARN_CLIENTS_US = 12.0
#: CPU of Valkey for a record of a source, and of Kafka for each record that is written or read, us, in full batches and once Java
#: has compiled what it runs: of the same two points (4.1 and 5.7; 3.7 and 3.9). Kafka's is that of a broker of one node, without
#: replicas and TLS: an estimate of any other.
REDIS_US = 5.0
KAFKA_US = 3.8
#: Cores that a role or a server takes where nothing happens, and at most beside its work where it works on each event as it comes
#: (`penstock bench size --rate 0 --rate 2000`; Kafka's in the first minute of a broker).
IDLE_CORES = {"featurize": 0.025, "learn": 0.025, "redis": 0.002, "kafka": 0.07}
AT_ONCE_CORES = {"featurize": 0.25, "learn": 0.15, "redis": 0.06, "kafka": 0.7}
#: Of a core, so much may be used in the long run: the rest is for catching up, retrains and garbage. A choice.
FILLED = 0.6

#: What Valkey keeps beside a key's name and value: entries of its tables, the time to live, what jemalloc rounds up by (`penstock
#: bench size_memory`).
REDIS_KEY_BYTES = 75
#: Resident memory of a role with next to nothing to do, MiB: of the first hour of `make soak RATE=120` (89, 104, 109 and 92).
ROLE_MIB = {"featurize": 90, "learn": 105, "control": 110, "serve": 95}
#: What Kafka's client holds at most beside that, and batches under way, in a role that has much to catch up with (`penstock bench
#: size`: 180 to 290 and 90).
CATCHING_UP_MIB = {"featurize": 200, "learn": 90}
#: A state that featurize keeps in memory (`featurize.step.KEPT_STATES` a task at most) takes so many times its encoded size
#: (`penstock bench size_memory`: 2.8).
STATE_IN_MEMORY = 3.0
#: A sample that waits for its label in learn takes so many times its encoded size (`penstock bench size_memory`: 6.9, with two
#: models; more with more).
PENDING_IN_MEMORY = 7.0
