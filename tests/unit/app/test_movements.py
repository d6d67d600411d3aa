"""Movements: stock, idempotency, lists."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.databases import query

CreateItem = Callable[..., dict[str, Any]]
RECEIPT = {"delta": 5, "reason": "receipt", "note": "Delivery"}


def test_movement_changes_the_stock_and_the_version(client: TestClient, create_item: CreateItem) -> None:
    item = create_item()

    response = client.post(f"/items/{item['id']}/movements", json=RECEIPT)

    assert response.status_code == 201
    movement = response.json()
    assert movement == RECEIPT | {
        "id": movement["id"],
        "item_id": item["id"],
        "quantity": 5,
        "created_at": movement["created_at"],
    }
    read = client.get(f"/items/{item['id']}")
    assert read.headers["etag"] == '"2"'
    assert read.json()["quantity"] == 5
    assert read.json()["updated_at"] > item["updated_at"]


def test_stock_never_goes_below_zero(client: TestClient, create_item: CreateItem) -> None:
    item = create_item(quantity=3)
    url = f"/items/{item['id']}/movements"

    response = client.post(url, json={"delta": -5, "reason": "sale"})

    assert response.status_code == 409
    assert response.json()["detail"] == f"Item {item['id']} has 3 in stock; 5 cannot be taken."
    assert client.get(f"/items/{item['id']}").json()["quantity"] == 3
    assert client.post(url, json={"delta": -3, "reason": "sale"}).json()["quantity"] == 0


def test_stock_never_exceeds_what_json_holds_exactly(
    client: TestClient, create_item: CreateItem, shared_database: str
) -> None:
    item = create_item(quantity=3)
    query(shared_database, f"UPDATE items SET quantity = {2**53 - 2}")
    url = f"/items/{item['id']}/movements"

    response = client.post(url, json={"delta": 2, "reason": "receipt"})

    assert response.status_code == 409
    assert "9007199254740991" in response.json()["detail"]
    assert client.post(url, json={"delta": 1, "reason": "receipt"}).json()["quantity"] == 2**53 - 1


def test_same_key_and_body_books_once_and_answers_the_same_bytes(
    client: TestClient, create_item: CreateItem
) -> None:
    url = f"/items/{create_item()['id']}/movements"
    headers = {"Idempotency-Key": "k-1"}

    first = client.post(url, json=RECEIPT, headers=headers)
    client.post(url, json=RECEIPT)
    again = client.post(url, json=RECEIPT, headers=headers)

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert [m["quantity"] for m in client.get(url).json()["items"]] == [10, 5]


@pytest.mark.parametrize("change", [{"delta": 6}, {"reason": "return"}, {"note": "x"}, {"note": None}])
def test_same_key_with_another_body_is_refused(
    client: TestClient, create_item: CreateItem, change: dict[str, Any]
) -> None:
    url = f"/items/{create_item()['id']}/movements"
    headers = {"Idempotency-Key": "k-1"}
    client.post(url, json=RECEIPT, headers=headers)

    response = client.post(url, json=RECEIPT | change, headers=headers)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    assert len(client.get(url).json()["items"]) == 1


def test_same_key_for_another_item_is_refused(client: TestClient, create_item: CreateItem) -> None:
    headers = {"Idempotency-Key": "k-1"}
    client.post(f"/items/{create_item('T-1')['id']}/movements", json=RECEIPT, headers=headers)

    response = client.post(f"/items/{create_item('T-2')['id']}/movements", json=RECEIPT, headers=headers)

    assert response.status_code == 422


def test_refused_movement_does_not_use_up_its_key(client: TestClient, create_item: CreateItem) -> None:
    url = f"/items/{create_item()['id']}/movements"
    sale, headers = {"delta": -1, "reason": "sale"}, {"Idempotency-Key": "k-1"}
    assert client.post(url, json=sale, headers=headers).status_code == 409
    client.post(url, json=RECEIPT)

    assert client.post(url, json=sale, headers=headers).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "é".encode("latin-1"), "\x7f", "k" * 256])
def test_bad_key_is_refused_by_name(client: TestClient, create_item: CreateItem, key: str | bytes) -> None:
    response = client.post(
        f"/items/{create_item()['id']}/movements", json=RECEIPT, headers={"Idempotency-Key": key}
    )

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"


def test_longest_key_is_taken(client: TestClient, create_item: CreateItem) -> None:
    url = f"/items/{create_item()['id']}/movements"

    assert client.post(url, json=RECEIPT, headers={"Idempotency-Key": "~" * 255}).status_code == 201


def test_lists_are_paged_newest_first_and_sum_up_to_the_stock(
    client: TestClient, create_item: CreateItem
) -> None:
    item, other = create_item("T-1"), create_item("T-2", quantity=9)
    url = f"/items/{item['id']}/movements"
    for delta in (5, -2, 7, -1):
        client.post(url, json={"delta": delta, "reason": "correction"})

    first = client.get(url, params={"limit": 3}).json()
    second = client.get(url, params={"limit": 3, "cursor": first["next_cursor"]}).json()

    deltas = [movement["delta"] for movement in first["items"] + second["items"]]
    assert deltas == [-1, 7, -2, 5]
    assert second["next_cursor"] is None
    assert client.get(f"/items/{item['id']}").json()["quantity"] == sum(deltas)
    assert client.get(f"/items/{other['id']}").json()["quantity"] == 9
