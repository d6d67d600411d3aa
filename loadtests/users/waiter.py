"""Waiting for something else, as for a slow upstream. The shop has no such endpoint: see waiting_app.py."""

from locust import task

from loadtests.users.strict import StrictUser


class SyncWaiter(StrictUser):
    """Asks a plain `def` endpoint that waits 100 ms in a thread: a worker has 40."""

    needs_items = False

    @task
    def wait(self) -> None:
        self.ask("GET", "/wait/sync", "/wait/sync", lambda body: body == b"waited")


class AsyncWaiter(StrictUser):
    """Asks a coroutine that waits 100 ms: the loop serves others meanwhile."""

    needs_items = False

    @task
    def wait(self) -> None:
        self.ask("GET", "/wait/async", "/wait/async", lambda body: body == b"waited")


class Trivial(StrictUser):
    """Asks a coroutine that does nothing: Locust costs more than that, which `compare` has to notice."""

    needs_items = False

    @task
    def ask_nothing(self) -> None:
        self.ask("GET", "/trivial", "/trivial", lambda body: body == b"waited")
