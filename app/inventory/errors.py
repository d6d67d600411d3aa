"""What the domain refuses. Each error carries its HTTP status and the sentence a client sees."""

from app.inventory.tables import MAX_QUANTITY
from app.problems import InvalidField, Problem


class ItemNotFound(Problem):
    def __init__(self, item_id: int) -> None:
        super().__init__(404, f"There is no item {item_id}.")


class DuplicateSku(Problem):
    def __init__(self, sku: str) -> None:
        super().__init__(409, f"Another item has the SKU {sku}.")


class StaleItem(Problem):
    def __init__(self, item_id: int, version: int) -> None:
        super().__init__(412, f"Item {item_id} is at version {version} by now; read it again.")


class NotEnoughStock(Problem):
    def __init__(self, item_id: int, quantity: int, delta: int) -> None:
        super().__init__(409, f"Item {item_id} has {quantity} in stock; {-delta} cannot be taken.")


class TooMuchStock(Problem):
    def __init__(self, item_id: int, quantity: int, delta: int) -> None:
        super().__init__(
            409, f"Item {item_id} has {quantity} in stock; {delta} more would exceed {MAX_QUANTITY}."
        )


class IdempotencyKeyReused(InvalidField):
    def __init__(self) -> None:
        super().__init__("Idempotency-Key", "it was used for another movement; a new one needs a new key")
