"""The Redis protocol's form of the one command that carries nearly all bytes: a unit of work."""

from collections.abc import Callable, Sequence

from penstock.features.engine.choose import engine_name
from penstock.features.units import Write

Argument = bytes | str | int
SaveCommand = Callable[[list[Argument], list[Argument], Sequence[Write]], bytes]


def save_command(opening: list[Argument], values: list[Argument], writes: Sequence[Write]) -> bytes:
    r"""Give a command: `opening`, the keys of all writes, `values`, and what is written.

    >>> save_command(["EVAL", "return 1", 0], [b"x"], [])
    b'*4\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n$1\r\nx\r\n'
    """
    arguments = list(opening)
    for write in writes:
        arguments += (write.state_key, write.public_key)
    arguments += values
    for write in writes:
        arguments += (write.state, write.document, write.ttl_ms)
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if type(argument) is bytes else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def fastest_save_command() -> SaveCommand:
    """Give `save_command`, in C if that engine runs."""
    if engine_name() == "python":
        return save_command
    from penstock.features.engine import native

    return native.save_command
