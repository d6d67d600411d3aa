"""An application whose start-up fails while the file that DOWN names is there."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

if "BREAK_IMPORT" in os.environ:
    raise KeyError("BREAK_IMPORT is set")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    if Path(os.environ["DOWN"]).exists():
        raise ConnectionError("the database is down")
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def root() -> str:
    return "served"
