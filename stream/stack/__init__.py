"""Kafka and Redis on one machine, found or started (`local_stack`)."""

from penstock.stream.stack.local import Kind, Stack, local_stack
from penstock.stream.stack.server import Server, StackError

__all__ = ["Kind", "Server", "Stack", "StackError", "local_stack"]
