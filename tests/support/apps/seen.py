"""Tells a client how it is seen."""

from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/client")
async def client(request: Request) -> list[str]:
    return [request.client.host if request.client else "", request.url.scheme]
