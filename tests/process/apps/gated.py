"""An application whose start-up waits while the file that GATE names is there."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    while Path(os.environ["GATE"]).exists():
        await asyncio.sleep(0.05)
    yield


app = FastAPI(lifespan=lifespan)
