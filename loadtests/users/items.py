"""The items that users ask for: made once, through the API, with more stock than a run can sell."""

import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from loadtests import keys

COUNT = 100
SKU_PREFIX = "LOADTEST-"
OPENING_STOCK = 10**8


class StockedItem(NamedTuple):
    id: int
    sku: str


class NoItemsError(Exception):
    """Why there is nothing to ask for, in one sentence."""


shelf: list[StockedItem] = []


def stock_up(host: str) -> None:
    """Fills the shelf of this process. Several may do so at once: what another has made is used."""
    try:
        found = _find(host)
        if len(found) < COUNT:
            for number in range(COUNT):
                _make(host, f"{SKU_PREFIX}{number:03}")
            found = _find(host)
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            raise NoItemsError(f"{host} does not let items be made: {error}") from None
        raise NoItemsError(f"{host} wants a key for writing: set {keys.VARIABLE} to one.") from None
    except (OSError, ValueError, KeyError) as error:
        raise NoItemsError(f"{host} does not answer as the stock-keeping application does: {error}") from None
    shelf[:] = found


def _find(host: str) -> list[StockedItem]:
    page = _call(f"{host}/items?q={SKU_PREFIX}&limit={COUNT}")
    return [StockedItem(item["id"], item["sku"]) for item in page["items"]]


def _make(host: str, sku: str) -> None:
    try:
        item = _call(f"{host}/items", {"sku": sku, "name": f"Load test {sku}", "unit_price": 450})
    except urllib.error.HTTPError as error:
        if error.code == 409:  # it is there
            return
        raise
    _call(f"{host}/items/{item['id']}/movements", {"delta": OPENING_STOCK, "reason": "receipt"})


def _call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json"} | keys.headers()
    request = urllib.request.Request(url, data, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found
