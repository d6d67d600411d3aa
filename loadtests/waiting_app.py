"""Endpoints that wait, served in place of the shop: COACHMAN_APP=loadtests.waiting_app:app.

The shop computes and reads its database; that waiting wants other numbers of workers can only be shown
with one that waits, and a shop should not carry an endpoint for its load test.
"""

import asyncio
import time

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

SECONDS = 0.1

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/wait/sync", response_class=PlainTextResponse)
def wait_sync() -> str:
    time.sleep(SECONDS)
    return "waited"


@app.get("/wait/async", response_class=PlainTextResponse)
async def wait_async() -> str:
    await asyncio.sleep(SECONDS)
    return "waited"


@app.get("/trivial", response_class=PlainTextResponse)
async def trivial() -> str:
    return "waited"
