"""Predictions in bulk: a file's rows, their vectors as given, as of their own time or as of now, by the live models or one."""
