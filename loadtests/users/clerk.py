import json
import random
import uuid
from dataclasses import dataclass

from locust import task

from loadtests.users.items import shelf
from loadtests.users.strict import StrictUser


@dataclass
class Booking:
    """A movement that was sent. Acknowledged or not: after a crash only the database knows."""

    item_id: int
    delta: int
    key: str
    acknowledged: bool = False


class Clerk(StrictUser):
    """A clerk at the counter: books sales and deliveries, each under a key, so that it may be repeated."""

    weight = 2
    ledger: list[Booking] | None = None  # kept where it is compared with the database afterwards

    @task(2)
    def book_movement(self) -> None:
        delta = random.choice((-3, -2, -1, 1, 2, 3))  # noqa: S311
        booking = Booking(random.choice(shelf).id, delta, uuid.uuid4().hex)  # noqa: S311
        if Clerk.ledger is not None:
            Clerk.ledger.append(booking)

        def is_right(body: bytes) -> bool:
            movement = json.loads(body)
            return bool((movement["item_id"], movement["delta"]) == (booking.item_id, delta))

        booking.acknowledged = self.ask(
            "POST",
            f"/items/{booking.item_id}/movements",
            "/items/[id]/movements",
            is_right,
            status=201,
            json={"delta": delta, "reason": "sale" if delta < 0 else "receipt"},
            headers={"Idempotency-Key": booking.key},
        )
