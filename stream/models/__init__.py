"""Model versions: their digests, their signed envelopes, and where they are stored."""
