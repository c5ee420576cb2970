"""A pipeline as frames, for notebooks: ``import penstock.frames as frames``.

    flights = frames.connect("flights.py")                 # one that runs, at the environment's Kafka and Redis
    flights = frames.in_memory("flights.py", events)       # one in this process, after it has read these events
    flights.training_set(), .predictions(labels=True), .features("airport"), .history(), .episodes(), .what_if("changed.py")

Frames are pandas', polars' or pyarrow's: whichever is installed, or as `frames=` says.
"""

from penstock.stream.frames.pipeline import Frames, connect, in_memory

__all__ = ["Frames", "connect", "in_memory"]
