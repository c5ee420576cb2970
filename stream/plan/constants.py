"""What of a backfill's time cannot be tried without writing, and so was measured once.

Laws of this file:
- Each constant is measured by `penstock bench plan` on the machine of benchmarks/README.md, on the change that is called `fit`
  there. On another machine they are estimates; what the definition itself costs is tried on the machine that asks.
"""

from __future__ import annotations

#: What a state that a build saves takes beside computing it: sent to Redis and written there, us.
SAVED_US = 8.0
#: What a state takes when it is converted: read with what was built, written under its new version with its document, the
#: document settled after the switch, the former state deleted, us.
CONVERTED_US = 110.0
#: What each task takes once: its readers of Kafka, its positions, the switch, s.
TASK_S = 0.35
#: What the whole takes once: to look, and to walk the keys before and after, s.
ONCE_S = 0.15
#: A record that is built behind a running role may be read once more, for what came meanwhile.
STANDS_STILL_TASK_S = 0.25
