"""An application that does nothing, so that what is around it is measured."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def nothing() -> dict[str, str]:
    return {"hello": "world"}
