"""The inventory's endpoints."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from app.deps import InventoryDep
from app.inventory import cursor, label
from app.inventory.cursor import CursorDep
from app.inventory.params import IdempotencyKey, ItemId, Limit, RequireJson, SearchText
from app.inventory.preconditions import OptionalIfMatch, RequiredIfMatch, etag
from app.inventory.schemas import (
    Item,
    ItemCreate,
    ItemPage,
    ItemUpdate,
    Movement,
    MovementCreate,
    MovementPage,
)
from app.keys.access import MayRead, MayWrite
from app.problems import responses

router = APIRouter(
    prefix="/items",
    generate_unique_id_function=lambda route: route.name,
    responses=responses(401, 403, 422, 429, 503),
)


def _headers(status: int, **headers: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string"}
    described = {
        name.replace("_", "-"): {"description": text, "schema": schema} for name, text in headers.items()
    }
    return {status: {"headers": described}}


ETAG = "The item's version, for If-Match"


async def get_found_item(item_id: ItemId, inventory: InventoryDep) -> Item:
    return await inventory.get_item(item_id)


FoundItem = Annotated[Item, Depends(get_found_item)]


@router.post(
    "",
    status_code=201,
    summary="Create an item",
    tags=["items"],
    dependencies=[MayWrite, RequireJson],
    responses=responses(400, 409, 413, 415)
    | _headers(201, ETag=ETAG, Location="The address of the new item"),
)
async def create_item(new: ItemCreate, inventory: InventoryDep, response: Response) -> Item:
    item = await inventory.create_item(new)
    response.headers["Location"] = f"/items/{item.id}"
    response.headers["ETag"] = etag(item.version)
    return item


@router.get("", summary="List items, oldest first", tags=["items"], dependencies=[MayRead])
async def list_items(
    inventory: InventoryDep, after: CursorDep, q: SearchText = "", limit: Limit = 50
) -> ItemPage:
    found = await inventory.list_items(q, after, limit + 1)
    return ItemPage(items=found[:limit], next_cursor=_next_cursor(found, limit))


@router.get(
    "/{item_id}",
    summary="Read an item",
    tags=["items"],
    dependencies=[MayRead],
    responses=responses(404) | _headers(200, ETag=ETAG),
)
async def get_item(item: FoundItem, response: Response) -> Item:
    response.headers["ETag"] = etag(item.version)
    return item


@router.patch(
    "/{item_id}",
    summary="Change an item that has not changed since it was read",
    tags=["items"],
    dependencies=[MayWrite, RequireJson],
    responses=responses(400, 404, 409, 412, 413, 415, 428) | _headers(200, ETag=ETAG),
)
async def change_item(
    item_id: ItemId,
    update: ItemUpdate,
    if_match: RequiredIfMatch,
    inventory: InventoryDep,
    response: Response,
) -> Item:
    item = await inventory.change_item(item_id, update, if_match)
    response.headers["ETag"] = etag(item.version)
    return item


@router.delete(
    "/{item_id}",
    status_code=204,
    summary="Delete an item and its movements",
    tags=["items"],
    dependencies=[MayWrite],
    responses=responses(400, 404, 412),
)
async def delete_item(item_id: ItemId, if_match: OptionalIfMatch, inventory: InventoryDep) -> None:
    await inventory.delete_item(item_id, if_match)


@router.post(
    "/{item_id}/movements",
    status_code=201,
    summary="Book a movement",
    tags=["movements"],
    dependencies=[MayWrite, RequireJson],
    responses=responses(400, 404, 409, 413, 415)
    | _headers(201, Idempotent_Replayed="true when the movement had been booked before, under the same key"),
)
async def book_movement(
    item_id: ItemId,
    new: MovementCreate,
    inventory: InventoryDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Movement:
    movement, replayed = await inventory.book_movement(item_id, new, idempotency_key)
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return movement


@router.get(
    "/{item_id}/movements",
    summary="List an item's movements, newest first",
    tags=["movements"],
    dependencies=[MayRead],
    responses=responses(404),
)
async def list_movements(
    item_id: ItemId, inventory: InventoryDep, before: CursorDep, limit: Limit = 50
) -> MovementPage:
    found = await inventory.list_movements(item_id, before, limit + 1)
    return MovementPage(items=found[:limit], next_cursor=_next_cursor(found, limit))


# Not a coroutine: drawing takes milliseconds of CPU, which belong on the thread pool.
@router.get(
    "/{item_id}/label.svg",
    summary="Print an item's label",
    tags=["items"],
    response_class=Response,
    dependencies=[MayRead],
    responses=responses(404)
    | {200: {"description": "The label", "content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
)
def get_label(item: FoundItem) -> Response:
    return Response(label.render(item.sku, item.name), media_type="image/svg+xml")


def _next_cursor(found: list[Item] | list[Movement], limit: int) -> str | None:
    return cursor.encode(found[limit - 1].id) if len(found) > limit else None
