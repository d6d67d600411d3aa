"""Tells the operator each step of a release, and how long each took."""

import contextlib
import time
from collections.abc import Callable, Iterator

Report = Callable[[str], None]


class Progress:
    """Passes on what is reported, and measures the steps."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures what runs meanwhile, also when it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - began, 1)

    def summary(self) -> str:
        """Such as "Took 26.1 s: copy 0.1, packages 14.2, sync 0.3, ..."."""
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        return f"Took {sum(self.seconds.values()):.1f} s: {parts}"
