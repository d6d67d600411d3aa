"""An application whose start-up fails while the file `down` is there."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

if "BREAK_IMPORT" in os.environ:
    raise KeyError("BREAK_IMPORT is set")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    if Path(os.environ["FOLDER"], "down").exists():
        raise ConnectionError("the database is down")
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def root() -> str:
    return "served"
