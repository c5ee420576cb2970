"""Worked examples: New York's flights of 2013 (real, 655,867 events) and card payments (generated, as many as wanted)."""
