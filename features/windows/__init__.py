"""Windows over tiles and sessions, and what a tile remembers."""
