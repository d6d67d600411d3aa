import asyncio
from collections.abc import AsyncGenerator

import strawberry
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "hello from strawberry"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int = 3) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number
            await asyncio.sleep(0.1)


app = FastAPI()
app.include_router(GraphQLRouter(strawberry.Schema(Query, subscription=Subscription)), prefix="/graphql")
