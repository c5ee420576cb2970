"""Data quality beyond ranges: how much comes and when, what was never seen, what comes twice, what no longer moves."""
