"""Step two: the fold over the samples log that predicts, learns, watches for drift and carries out commands."""
