"""Clients that book movements and remember which were acknowledged; and what a disk has of them."""

import contextlib
import http.client
import json
import shlex
import subprocess
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

DATABASE = "var/lib/coachman/coachman.db"
QUERY = """
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
rows = lambda sql: db.execute(sql).fetchall()
has_tables = rows("SELECT 1 FROM sqlite_master WHERE name = 'movements'")
print(json.dumps({
    "integrity": rows("PRAGMA integrity_check")[0][0],
    "booked": [key for key, in rows("SELECT idempotency_key FROM movements")] if has_tables else [],
    "stock": rows("SELECT quantity, (SELECT coalesce(sum(delta), 0) FROM movements WHERE item_id = items.id) "
                  "FROM items") if has_tables else [],
}))
"""


class Stock(NamedTuple):
    """Of a disk: what SQLite says of the database, the movements' keys, quantities beside their sums."""

    integrity: str
    booked: Collection[str]
    stock: list[list[int]]


def post(port: int, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json"} | headers
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 201, f"{answer.status}: {text!r}"
        made: dict[str, Any] = json.loads(text)
        return made


class Bookings:
    """Booked by four clients until the power is cut; `acknowledged` holds the keys of the answered ones."""

    def __init__(self, port: int) -> None:
        self.acknowledged: set[str] = set()
        self._port, self._end = port, threading.Event()
        self._items = [post(port, "/items", {"sku": f"SKU-{n}", "name": "Tea"})["id"] for n in range(4)]
        self._threads = [threading.Thread(target=self._book, args=(item,)) for item in self._items]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait(self, count: int, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while len(self.acknowledged) < count:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} acknowledged in {seconds:g} s"
            assert any(thread.is_alive() for thread in self._threads), "all clients have ended"
            time.sleep(0.02)  # between two looks

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(90)

    def _book(self, item: int) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            key = f"movement-{item}-{number}"
            try:
                post(
                    self._port,
                    f"/items/{item}/movements",
                    {"delta": number, "reason": "receipt"},
                    **{"Idempotency-Key": key},
                )
            except (OSError, http.client.HTTPException):
                return  # the power is gone
            self.acknowledged.add(key)


def stock_on(disk: Path) -> Stock:
    """The file system is mounted as a boot would: ext4 and SQLite each mend what the cut has left."""
    found = on_disk(disk, f"python3 -c {shlex.quote(QUERY)} {DATABASE}")
    return Stock(**json.loads(found))


def on_disk(disk: Path, command: str) -> str:
    """What a shell prints in the root of that disk. In mounts that nobody has to undo."""
    place = disk.with_suffix(".mounted")
    place.mkdir(exist_ok=True)
    steps = f"mount -o loop {shlex.quote(str(disk))} {place}\ncd {place}\n{command}"
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", steps],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
