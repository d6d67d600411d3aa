"""What endpoints ask for, as Annotated aliases."""

from typing import Annotated

from fastapi import Depends, Request

from app.inventory.repository import Inventory
from durable_database import Database


# All are coroutines: FastAPI would send plain functions to the thread pool.
async def get_database(request: Request) -> Database:
    database: Database = request.state.database
    return database


DatabaseDep = Annotated[Database, Depends(get_database)]


async def get_inventory(database: DatabaseDep) -> Inventory:
    return Inventory(database)


InventoryDep = Annotated[Inventory, Depends(get_inventory)]
