"""Tells a test what runs it."""

import asyncio
import os

from fastapi import FastAPI

app = FastAPI()


@app.get("/loop")
async def loop() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@app.get("/pid")
async def pid() -> int:
    return os.getpid()
