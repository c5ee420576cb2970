"""Predictions and features on request, over HTTP: from the features in Redis and learn's replica; it never learns."""
