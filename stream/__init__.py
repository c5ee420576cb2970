"""What a definition file needs from the flow."""

from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.grids import grid

__all__ = ["Label", "Pipeline", "Source", "grid"]
