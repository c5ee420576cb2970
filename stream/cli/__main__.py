"""`python -m stream.cli`, the same as the `penstock` command."""

from penstock.stream.cli import main

raise SystemExit(main())
