"""What the data layer itself raises; SQLite's and PostgreSQL's own errors pass through as they are."""


class PoolTimeout(TimeoutError):  # noqa: N818 (the standard library's own name ends so)
    """The writer, or every pooled connection, stayed in use for longer than one may wait."""


class TransactionTimeout(TimeoutError):  # noqa: N818
    """A transaction stayed open for so long that it was rolled back: others wait for it."""


class ForkedError(RuntimeError):
    def __init__(self) -> None:
        super().__init__("the database was connected before a fork; connect in each process, after it")


class ChildTaskError(RuntimeError):
    def __init__(self) -> None:
        super().__init__(
            "a task wrote while its parent's transaction is open, which it is no part of and would wait for; "
            "write in the parent, or after the transaction"
        )
