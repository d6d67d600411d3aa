"""What endpoints ask for, as Annotated aliases."""

from typing import Annotated

from fastapi import Depends, Request

from app.database import Database
from app.inventory.repository import Inventory
from app.settings import Settings


# All are coroutines: FastAPI would send plain functions to the thread pool.
async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def get_database(request: Request) -> Database:
    database: Database = request.state.database
    return database


DatabaseDep = Annotated[Database, Depends(get_database)]
SettingsDep = Annotated[Settings, Depends(get_settings)]


async def get_inventory(database: DatabaseDep) -> Inventory:
    return Inventory(database)


InventoryDep = Annotated[Inventory, Depends(get_inventory)]
