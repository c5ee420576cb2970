"""What of a backfill's time cannot be tried without writing, and so was measured once.

Laws of this file:
- Each is measured by `penstock bench plan --only fit --only label` on the machine of benchmarks/README.md, and was fitted to
  nothing else. On another machine they are estimates; what the definition itself costs is tried on the machine that asks.
- Seconds are of CPU, of the process and of both servers: so much by the clock where nobody else works.
"""

from __future__ import annotations

#: What a state that a build saves takes beside computing it: sent to Redis and written there, us.
SAVED_US = 8.0
#: What a state takes when it is converted: read with what was built, written under its new version with its document, the
#: document settled after the switch, the former state deleted, us.
CONVERTED_US = 55.0
#: What each task that is built takes once, s: its readers of Kafka.
BUILT_S = 0.08
#: What a change takes once, s: to look, the switch, and to walk the keys before and after.
ONCE_S = 0.05
