import json
import random

from locust import task

from loadtests.users.items import SKU_PREFIX, shelf
from loadtests.users.strict import StrictUser

PAGE = 20


class Reader(StrictUser):
    """A customer who looks: mostly at one item, at times at a page of the list, seldom searches."""

    weight = 7

    @task(4)
    def read_item(self) -> None:
        item = random.choice(shelf)  # noqa: S311
        self.ask("GET", f"/items/{item.id}", "/items/[id]", lambda body: json.loads(body)["id"] == item.id)

    @task(2)
    def list_items(self) -> None:
        self.ask(
            "GET",
            f"/items?limit={PAGE}",
            "/items?limit=[n]",
            lambda body: len(json.loads(body)["items"]) == PAGE,
        )

    @task(1)
    def search(self) -> None:
        sku = random.choice(shelf).sku  # noqa: S311
        self.ask(
            "GET",
            f"/items?q={sku.removeprefix(SKU_PREFIX[:4])}",
            "/items?q=[text]",
            lambda body: any(found["sku"] == sku for found in json.loads(body)["items"]),
        )
