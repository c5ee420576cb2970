"""The demonstration: a year of real flights, end to end, which verifies itself before it ends."""
