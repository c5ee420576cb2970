"""Deployments of their own, which begin from files or are featurized by a job: one user, the printed rights, an administrator.

Laws of this file:
- Their topics and keys are nobody else's, their source among them; what other deployments' users may do is left as it was.
- The administrator makes topics and starts over; the user who is tried has the rights that are printed for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.patience import PATIENCE_S
from tests.rights.conftest import DEFINITION
from tests.rights.secured import Deployment, Secured, events

ROWS = 2_000
SOURCE = '"cards.payments"'
OF_SOURCE = 'View("card", payments, key="card"'


def past() -> list[str]:
    """Payments of a world that turns half way, so that another model takes the lead, and one that is a dead letter."""
    rows = [json.loads(line) for line in events(ROWS - 1)]
    for number, row in enumerate(rows):
        row["fraud"] = (row["amount"] > 0) == (number < ROWS // 2)
    return [json.dumps(row) for row in (*rows, {"card": "c1", "payment_id": "without-a-time"})]


class Beginning(Deployment):
    """A definition with its topics, a file of past payments, and newer ones in its source.

    In `one_task` its view is keyed otherwise than its source, so that all partitions are one task's.
    """

    def __init__(
        self, servers: Secured, folder: Path, prefix: str, user: str, *, one_task: bool = False
    ) -> None:
        file = folder / f"{prefix}py"
        super().__init__(servers, file, prefix)
        self.user, self.source = user, f"{prefix}payments"
        text = DEFINITION.replace(SOURCE, f'"{self.source}"')
        file.write_text(
            text.replace(OF_SOURCE, OF_SOURCE.replace('"card"', '"payment_id"')) if one_task else text
        )
        self.lines = {form: self.printed(form, user) for form in ("kafka", "valkey")}
        self.rows = folder / f"{prefix}past.ndjson"
        self.rows.write_text("\n".join(past()) + "\n")
        newer = folder / f"{prefix}newer.ndjson"
        newer.write_text("\n".join(events(20, ROWS)) + "\n")
        self.administer("topics", str(file), "--create-sources", "--partitions", "2")
        self.administer("publish", self.source, str(newer), "--file", str(file))

    def administer(self, *words: str) -> None:
        """A command of somebody who may do everything."""
        of_user = self.environment(self.user)
        clean = {name: value for name, value in of_user.items() if not name.startswith("PENSTOCK_KAFKA_")}
        env = clean | {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers.admin_kafka,
            "REDIS_URL": self.servers.admin_redis,
        }
        line = [sys.executable, "-m", "penstock.stream.cli", *words]
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    def start_over(self) -> None:
        """As if nothing had ever begun."""
        self.administer("reset", str(self.file), "--yes")

    def bootstrap(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Begin from the file, as the user."""
        return self.command(
            self.user, "bootstrap", str(self.file), "--source", f"{self.source}={self.rows}", *more
        )

    @contextmanager
    def allowed(self, lines: dict[str, Sequence[str]] | None = None) -> Iterator[None]:
        """With the printed rights, or with others, beside those that everybody else has."""
        mine, before = lines or self.lines, self.servers.kafka_lines
        self.servers.set_kafka([*(one for one in before if f"User:{self.user} " not in one), *mine["kafka"]])
        self.servers.set_redis(mine["valkey"])
        self.forget_refusals()
        try:
            yield
        finally:
            self.servers.set_kafka(before)
            self.servers.redis.execute_command("ACL", "DELUSER", self.user)
            self.forget_refusals()
