"""`python -m tests.flood`: send roles a flood of which a part is filth, and count what came of it.

A part of the records is spoilt in many ways. A naive decoder says which of them are still events; each of these must have its
sample, label, prediction and features, and each other one its dead letter, once. Needs Java 17 with Maven (or the jars that it
fetched) for the broker. Exit code 1 if anything was lost, repeated or wrong, or a role ended by itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults.servers import servers, store
from tests.flood.framed import FORMS, registered
from tests.flood.judge import Found, table
from tests.flood.running import Ended, Flood, Run


def main() -> int:
    """Run one flood; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.flood", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--bad", type=int, default=100_000, help="how many of them are spoilt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", choices=[*FORMS], default="json", help="of the flooded topic")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started here ends with it
    with (
        servers() as started,
        store() as (_, url, _),
        registered() as registry_url,
        tempfile.TemporaryDirectory(prefix="penstock-flood-") as folder,
    ):
        asked = (args.records, args.bad, args.seed, args.format, registry_url)
        flood = Flood(started.bootstrap, url, Path(folder), *asked)
        try:
            say(f"sending {args.records:,} records in {args.format}, {args.bad:,} of them spoilt")
            flood.publish()
            say("working them off")
            flood.work_off()
            say("comparing everything with the reference")
            found = flood.found(letters_too=True)
        except Ended as error:
            print(error)
            return 1
        finally:
            flood.close()
    if args.json is not None:
        args.json.write_text(json.dumps(shown(flood.run, found, args.bad), indent=1))
    print(table(found))
    print(measured(flood.run, found))
    for note in found.counts.notes:
        print(note[:1_500])
    return int(bool(found.counts.bad))


def shown(run: Run, found: Found, bad: int) -> dict[str, Any]:
    """The run as JSON has it."""
    counts = found.counts
    return {
        "records": run.records,
        "spoilt": bad,
        "good": found.samples,
        "dead_letters": found.dead_letters,
        "lost": counts.lost,
        "repeated": counts.repeated,
        "wrong": counts.wrong + counts.torn + counts.reordered,
        "events_per_s": {role: round(run.per_s(role)) for role in run.at_s},
        "at_s": run.at_s,
        "rss_mb": run.rss_mb,
        "peak_mb": run.peak_mb,
        "kinds": {kind: {"records": made, "dead": dead} for kind, (made, dead) in found.kinds.items()},
        "reasons": dict(found.reasons.most_common()),
    }


def measured(run: Run, found: Found) -> str:
    """What was counted and measured, for people."""
    one = shown(run, found, 0)
    lines = [
        "",
        f"{run.records:,} records: {found.samples:,} samples, {found.labels:,} labels, {found.predictions:,} predictions, "
        f"{found.dead_letters:,} dead letters; lost {one['lost']}, repeated {one['repeated']}, wrong {one['wrong']}",
        *(
            f"{role}: {run.per_s(role):,.0f} records a second, over after {took[-1]:.0f} s"
            for role, took in run.at_s.items()
        ),
        "",
        f"{'memory in MB':16} {'at 10 %':>9} {'at 50 %':>9} {'at the end':>11} {'most':>7}",
    ]
    for role, sizes in run.rss_mb.items():
        ten, half, end = sizes
        lines.append(f"{role:16} {ten:9.0f} {half:9.0f} {end:11.0f} {run.peak_mb[role]:7.0f}")
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
