"""What is raised when nothing can be scored."""

from penstock.stream.files.reading import CannotUse


class CannotScore(CannotUse):
    """Why nothing was scored, and no file written; the message says what to do."""
