"""Items: create, read, list, change, delete."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

CreateItem = Callable[..., dict[str, Any]]


def test_created_item_starts_without_stock_and_can_be_read(client: TestClient) -> None:
    response = client.post(
        "/items", json={"sku": " T-1 ", "name": "Tee ☕", "description": None, "unit_price": 10**12}
    )

    assert response.status_code == 201
    item = response.json()
    assert response.headers["location"] == f"/items/{item['id']}"
    assert response.headers["etag"] == '"1"'
    assert item | {"id": 1} == {
        "id": 1,
        "sku": "T-1",
        "name": "Tee ☕",
        "description": None,
        "unit_price": 10**12,
        "quantity": 0,
        "version": 1,
        "created_at": item["updated_at"],
        "updated_at": item["updated_at"],
    }
    assert item["created_at"].endswith("Z")
    assert datetime.fromisoformat(item["created_at"]).tzinfo is not None
    read = client.get(response.headers["location"])
    assert (read.json(), read.headers["etag"]) == (item, '"1"')


def test_duplicate_sku_is_a_conflict_that_names_it(client: TestClient, create_item: CreateItem) -> None:
    create_item("T-1")

    response = client.post("/items", json={"sku": "T-1", "name": "Again"})

    assert response.status_code == 409
    assert response.json()["detail"] == "Another item has the SKU T-1."


def test_ids_of_deleted_items_are_not_used_again(client: TestClient, create_item: CreateItem) -> None:
    first = create_item("T-1")
    assert client.delete(f"/items/{first['id']}").status_code == 204

    assert create_item("T-2")["id"] > first["id"]


def test_pages_hold_every_item_once_in_order(client: TestClient, create_item: CreateItem) -> None:
    created = [create_item(f"T-{n}")["id"] for n in range(7)]

    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = client.get("/items", params=params).json()
        seen += [item["id"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1

    assert seen == created
    assert pages == 3


def test_last_full_page_has_no_next_cursor(client: TestClient, create_item: CreateItem) -> None:
    create_item("T-1")
    create_item("T-2")

    assert client.get("/items", params={"limit": 2}).json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("", ["STRASSE", "A%B", "A_B", "A\\B"]),
        ("straße", ["STRASSE"]),
        ("ÄRGER", ["STRASSE"]),
        ("a%", ["A%B"]),
        ("a_", ["A_B"]),
        ("\\", ["A\\B"]),
        ("sse äR", ["STRASSE"]),
        ("nothing", []),
    ],
)
def test_search_ignores_case_and_takes_wildcards_literally(
    client: TestClient, create_item: CreateItem, q: str, found: list[str]
) -> None:
    create_item("STRASSE", name="ärger")
    for sku in ("A%B", "A_B", "A\\B"):
        create_item(sku, name="other")

    items = client.get("/items", params={"q": q}).json()["items"]

    assert [item["sku"] for item in items] == found


@pytest.mark.parametrize(
    "cursor", ["x", "MQ=", "MQ==", "LTE", "OTIyMzM3MjAzNjg1NDc3NTgwOA", "é", "A" * 65, ""]
)
def test_foreign_cursor_is_refused_by_name(client: TestClient, cursor: str) -> None:
    response = client.get("/items", params={"cursor": cursor})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "cursor"


def test_changed_item_gets_a_new_version_and_stays_findable(
    client: TestClient, create_item: CreateItem
) -> None:
    item = create_item("T-1", description="old", unit_price=5)
    url = f"/items/{item['id']}"

    response = client.patch(url, json={"name": "Kaffee", "description": None}, headers={"If-Match": '"1"'})

    assert response.status_code == 200
    changed = response.json()
    assert response.headers["etag"] == '"2"'
    assert (changed["name"], changed["description"], changed["unit_price"]) == ("Kaffee", None, 5)
    assert changed["version"] == 2
    assert changed["updated_at"] > item["updated_at"]
    assert client.get(url).json() == changed
    assert client.get("/items", params={"q": "t-1 KAFFEE"}).json()["items"] == [changed]


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        (None, 428),
        ('"1"', 412),
        ('"2"', 200),
        ('"7", "2"', 200),
        (' , "7",, "2" ,', 200),
        ("*", 200),
        ('W/"2"', 412),
        ('"02"', 412),
        ('"abc"', 412),
        ('""', 412),
        (f'"{"9" * 19}"', 412),
        (f'"{"9" * 400}"', 412),
        ("2", 400),
        ('"2', 400),
        ('"2" "3"', 400),
        ('*, "2"', 400),
        ("", 400),
        (",", 400),
    ],
)
def test_patch_obeys_if_match(
    client: TestClient, create_item: CreateItem, if_match: str | None, status: int
) -> None:
    item = create_item(quantity=1)  # the movement makes it version 2

    headers = {} if if_match is None else {"If-Match": if_match}
    response = client.patch(f"/items/{item['id']}", json={"name": "New"}, headers=headers)

    assert response.status_code == status, response.text
    if status != 200:
        assert client.get(f"/items/{item['id']}").json()["name"] == item["name"]


def test_if_match_in_two_lines_counts_as_one_list(client: TestClient, create_item: CreateItem) -> None:
    item = create_item()

    response = client.patch(
        f"/items/{item['id']}", json={"name": "New"}, headers=[("If-Match", '"9"'), ("If-Match", '"1"')]
    )

    assert response.status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"sku": None}, {"name": None}, {"name": " "}, {"quantity": 3}, {"version": 9}, []]
)
def test_patch_refuses_what_cannot_change(client: TestClient, create_item: CreateItem, body: Any) -> None:
    item = create_item()

    response = client.patch(f"/items/{item['id']}", json=body, headers={"If-Match": "*"})

    assert response.status_code == 422
    assert client.get(f"/items/{item['id']}").json() == item


def test_patch_to_the_sku_of_another_item_is_a_conflict(client: TestClient, create_item: CreateItem) -> None:
    create_item("T-1")
    item = create_item("T-2")

    response = client.patch(f"/items/{item['id']}", json={"sku": "T-1"}, headers={"If-Match": "*"})

    assert response.status_code == 409
    assert client.get(f"/items/{item['id']}").json() == item


def test_delete_takes_the_movements_along(client: TestClient, create_item: CreateItem) -> None:
    item = create_item(quantity=3)
    url = f"/items/{item['id']}"

    assert client.delete(url, headers={"If-Match": '"1"'}).status_code == 412
    assert client.delete(url, headers={"If-Match": '"2"'}).status_code == 204

    assert client.get(url).status_code == 404
    assert client.get(f"{url}/movements").status_code == 404
    assert client.delete(url).status_code == 404
    # Its SKU is free again, and the new item has no history.
    again = create_item()
    assert client.get(f"/items/{again['id']}/movements").json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/items/99"),
        ("PATCH", "/items/99"),
        ("DELETE", "/items/99"),
        ("GET", "/items/99/label.svg"),
        ("GET", "/items/99/movements"),
        ("POST", "/items/99/movements"),
    ],
)
def test_missing_item_is_not_found(client: TestClient, method: str, path: str) -> None:
    body = {"PATCH": {"name": "x"}, "POST": {"delta": 1, "reason": "receipt"}}.get(method)

    response = client.request(method, path, json=body, headers={"If-Match": "*"})

    assert response.status_code == 404
    assert response.json()["detail"] == "There is no item 99."
