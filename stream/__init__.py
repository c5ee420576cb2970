"""What a definition file needs from the flow."""

from penstock.stream.definitions import Label, Pipeline, Source

__all__ = ["Label", "Pipeline", "Source"]
