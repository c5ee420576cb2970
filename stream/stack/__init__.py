"""Kafka and Redis on one machine, found or started (`local_stack`)."""

from stream.stack.local import Kind, Stack, local_stack
from stream.stack.server import Server, StackError

__all__ = ["Kind", "Server", "Stack", "StackError", "local_stack"]
