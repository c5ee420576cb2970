"""One series of numbers, watched by a drift detector: river's, Penstock's or one's own."""
