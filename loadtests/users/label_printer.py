import random

from locust import task

from loadtests.users.items import shelf
from loadtests.users.strict import StrictUser


class LabelPrinter(StrictUser):
    """A label printer: each label costs milliseconds of CPU in a thread of the worker."""

    weight = 1

    @task(1)
    def print_label(self) -> None:
        item = random.choice(shelf)  # noqa: S311
        self.ask(
            "GET",
            f"/items/{item.id}/label.svg",
            "/items/[id]/label.svg",
            lambda body: f"<title>{item.sku}</title>".encode() in body,
        )
