"""`python -m penstock.stream.stack [KIND]`: start a local stack, print its addresses, keep it until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import get_args

from penstock.stream.stack import Kind, StackError, local_stack


def main() -> int:
    """Print `export` lines on stdout and what was found on stderr, then wait for SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m penstock.stream.stack", description=main.__doc__)
    parser.add_argument("kind", nargs="?", default="auto", choices=get_args(Kind))
    kind: Kind = parser.parse_args().kind
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with local_stack(kind, progress=lambda line: print(line, file=sys.stderr)) as stack:
            print(*stack.description, sep="\n", file=sys.stderr)
            if stack.kafka is not None:
                print(f"export KAFKA_BOOTSTRAP_SERVERS={stack.kafka}")
            print(f"export REDIS_URL={stack.redis_url}", flush=True)
            signal.pause()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
