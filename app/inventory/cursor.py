"""Where the next page of a list begins, as a token that clients need not understand."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

from fastapi import Depends, Query

from app.problems import InvalidField


def encode(last_id: int) -> str:
    return urlsafe_b64encode(str(last_id).encode()).decode().rstrip("=")


def decode(cursor: str) -> int | None:
    """Returns the id that the cursor stands for; None when `encode` has not made it."""
    try:
        last_id = int(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        return None
    return last_id if 0 < last_id < 2**63 and encode(last_id) == cursor else None


async def parse_cursor(
    cursor: Annotated[
        str | None, Query(max_length=64, description="`next_cursor` of the page before")
    ] = None,
) -> int | None:
    if cursor is None:
        return None
    last_id = decode(cursor)
    if last_id is None:
        raise InvalidField("cursor", "this service has not made it; take one from a page of the list")
    return last_id


CursorDep = Annotated[int | None, Depends(parse_cursor)]
