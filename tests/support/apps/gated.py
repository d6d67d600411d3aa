"""An application whose start-up waits while the file `gate` is there.

A file with `.pass` after that name lets one of the workers through.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    gate = Path(os.environ["FOLDER"], "gate")
    while gate.exists() and not _takes(gate.with_suffix(".pass")):
        await asyncio.sleep(0.05)
    yield


def _takes(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


app = FastAPI(lifespan=lifespan)
