"""Counts how requests were answered, in this process."""


class Counts:
    """Requests by the way in which they were answered. The numbers only grow."""

    __slots__ = ("compiled", "left")

    def __init__(self) -> None:
        self.compiled = 0
        self.left = 0  # answered by FastAPI's own code


COUNTS = Counts()
