"""What one finds in many FastAPI projects, all at once."""

import asyncio
import logging.config
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI, UploadFile, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sse_starlette import EventSourceResponse


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env")
    database_url: str = "sqlite+aiosqlite:///shop.db"


# The default of disable_existing_loggers is true, and most projects leave it so.
logging.config.dictConfig(
    {
        "version": 1,
        "formatters": {"own": {"format": "SHOP %(levelname)s %(message)s"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "own"},
            "file": {"class": "logging.FileHandler", "filename": "shop.log", "formatter": "own"},
        },
        "root": {"level": "INFO", "handlers": ["console", "file"]},
    }
)
log = logging.getLogger("shop")


@asynccontextmanager
async def lifespan(app):
    engine = create_async_engine(Settings().database_url)
    async with engine.begin() as connection:
        await connection.execute(text("create table if not exists items (name text)"))
    app.state.engine = engine
    ticking = asyncio.create_task(asyncio.sleep(3600))
    yield
    ticking.cancel()
    await engine.dispose()


def create_app():
    app = FastAPI(lifespan=lifespan)
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    Path("static").mkdir(exist_ok=True)
    app.mount("/static", StaticFiles(directory="static"))
    Instrumentator().instrument(app).expose(app)

    @app.get("/items")
    async def items():
        async with app.state.engine.connect() as connection:
            rows = await connection.execute(text("select name from items"))
            return [row.name for row in rows]

    @app.post("/upload")
    async def upload(file: UploadFile, tasks: BackgroundTasks):
        tasks.add_task(log.info, "uploaded")
        return {"bytes": len(await file.read())}

    @app.get("/events")
    async def events():
        async def numbers():
            for number in range(1_000_000):
                yield {"data": str(number)}
                await asyncio.sleep(0.05)

        return EventSourceResponse(numbers())

    @app.websocket("/echo")
    async def echo(socket: WebSocket):
        await socket.accept()
        while True:
            await socket.send_text(await socket.receive_text())

    return app
