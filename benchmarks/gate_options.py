"""The options of `benchmarks.gate`, and the streams they name."""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.gate_flights import flights
from benchmarks.gate_rivals import MODELS
from benchmarks.gate_streams import CannotRead, Stream, Variant, folder, generated, one_file

OPTIONS: dict[str, dict[str, Any]] = {
    "--model": {
        "action": "append",
        "metavar": "M",
        "help": f"{', '.join(MODELS)} or FILE.py, which defines `model`; may be repeated (default lr)",
    },
    "--streams": {
        "type": Path,
        "metavar": "DIR",
        "help": "the *.csv of a folder instead of generated streams; their last column is the label",
    },
    "--csv": {
        "type": Path,
        "metavar": "FILE",
        "help": "this file instead of generated streams; needs --label",
    },
    "--label": {"metavar": "COLUMN", "help": "of --csv: the label, true above 0.5"},
    "--time": {
        "metavar": "COLUMN",
        "help": "of --csv: event time, ms since the epoch or RFC 3339 (default: a row a minute)",
    },
    "--no-flights": {"action": "store_true", "help": "leave the year of flights and its incidents out"},
    "--only": {
        "action": "append",
        "metavar": "NAME",
        "help": "only streams of this name, such as sea or 'flights-*'; may be repeated",
    },
    "--cache": {
        "type": Path,
        "metavar": "DIR",
        "help": "keep the flights' samples and what the rivals said here; empty it when featurize changes",
    },
    "--rows": {"type": int, "default": 0, "metavar": "N", "help": "at most this many rows of a stream"},
    "--json": {"metavar": "FILE", "help": "also write all figures as one JSON object"},
}
HARDER: dict[str, dict[str, Any]] = {
    "--skip": {
        "type": int,
        "metavar": "N",
        "help": "leave out the first rows, such as 777, so that no clock meets a drift",
    },
    "--delay": {"type": int, "metavar": "N", "help": "labels come after the sample this many rows later"},
    "--missing": {"type": float, "metavar": "SHARE", "help": "of labels that never come"},
    "--noise": {
        "type": float,
        "metavar": "SHARE",
        "help": "of inputs, multiplied by Student's t (3 degrees)",
    },
}


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options, under what the benchmark says of itself."""
    made = argparse.ArgumentParser(
        prog="penstock bench gate",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, said in OPTIONS.items():
        made.add_argument(option, **said)
    hard = made.add_argument_group("harder variants (flights have delays of their own, and take no part)")
    for option, said in HARDER.items():
        hard.add_argument(option, default=0, **said)
    return made


def chosen(args: argparse.Namespace) -> list[Stream]:
    """The streams that the options name. Raises `CannotRead` when an option makes no sense."""
    for name in ("skip", "rows", "delay"):
        if getattr(args, name) < 0:
            raise CannotRead(f"--{name} {getattr(args, name)}: it must not be negative")
    for name in ("missing", "noise"):
        if not 0.0 <= getattr(args, name) <= 1.0:
            raise CannotRead(f"--{name} {getattr(args, name)}: a share lies between 0 and 1")
    if (args.csv is None) != (args.label is None) or (args.time and args.csv is None):
        raise CannotRead("--csv FILE and --label COLUMN belong together, and --time COLUMN to both")
    variant = Variant(args.skip, args.rows, args.delay, args.missing, args.noise)
    found = [] if args.csv is None else [one_file(args.csv, args.label, args.time, variant)]
    if args.streams is not None:
        found += folder(args.streams, variant)
    elif args.csv is None:
        found += generated(variant)
    if not args.no_flights:
        found += flights(args.cache, args.rows)
    wanted = [one for one in found if not args.only or any(fnmatch(one.name, name) for name in args.only)]
    if not wanted:
        raise CannotRead(f"--only {' '.join(args.only)}: there are {', '.join(one.name for one in found)}")
    return wanted
