"""After a crash: is every movement that was acknowledged there, and every movement once?"""

import http.client
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from loadtests import keys

# Also in users/items.py, which cannot be imported without gevent replacing the sockets of this process.
SKU_PREFIX = "LOADTEST-"


def quantities(url: str) -> dict[int, int]:
    """The stock of the items that the load books on."""
    with closing(_connect(url)) as connection:
        page = _ask(connection, "GET", f"/items?q={SKU_PREFIX}&limit=100")[1]
    return {item["id"]: item["quantity"] for item in page["items"]}


def problems(url: str, before: dict[int, int], ledger: Iterable[dict[str, Any]]) -> list[str]:
    """What is wrong, in sentences. Repeats every booking under its key: none may be booked anew.

    One that was never acknowledged may have been lost or not; repeated, it is there once.
    """
    bookings = list(ledger)
    found = []
    with closing(_connect(url)) as connection:
        for booking in bookings:
            replayed = _repeat(connection, booking)
            if booking["acknowledged"] and not replayed:
                found.append(f"Movement {booking['key']} was acknowledged and was not in the database.")
    booked: Counter[int] = Counter()
    for booking in bookings:
        booked[booking["item_id"]] += booking["delta"]
    for item_id, quantity in quantities(url).items():
        wanted = before[item_id] + booked[item_id]
        if quantity != wanted:
            found.append(f"Item {item_id} has {quantity} in stock; its movements make {wanted}.")
    return found


def _repeat(connection: http.client.HTTPConnection, booking: dict[str, Any]) -> bool:
    """Whether it had been booked before."""
    reason = "sale" if booking["delta"] < 0 else "receipt"
    answer, _ = _ask(
        connection,
        "POST",
        f"/items/{booking['item_id']}/movements",
        {"delta": booking["delta"], "reason": reason},
        booking["key"],
    )
    return answer.headers.get("Idempotent-Replayed") == "true"


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, key: str | None = None
) -> tuple[http.client.HTTPResponse, Any]:
    headers = {"Content-Type": "application/json"} | keys.headers()
    if key:
        headers["Idempotency-Key"] = key
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    if answer.status not in (200, 201):
        raise OSError(f"{method} {path} was answered with {answer.status}: {found}")
    return answer, found


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
