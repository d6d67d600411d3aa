"""kill -9 of writing processes: what was acknowledged is there, once; nothing is half done."""

import contextlib
import itertools
import multiprocessing
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.database import writers
from tests.database.writers import TASKS
from tests.support.volume import dice, volume

PROCESSES = 4
KILLS = volume(100, 25)
MOST_LINES = 60  # of acknowledged writes, after which a writer is killed
SECONDS = 300

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE movements (key TEXT NOT NULL, delta INTEGER NOT NULL);
CREATE TABLE stock (quantity INTEGER NOT NULL);
INSERT INTO stock VALUES (0);
CREATE VIEW booked AS SELECT key, delta FROM movements;
CREATE TRIGGER book INSTEAD OF INSERT ON booked BEGIN
    INSERT INTO movements VALUES (new.key, new.delta);
    UPDATE stock SET quantity = quantity + new.delta;
END;
"""


# Each writer is a fork of a process that has imported what it needs, once for all of them.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.database.writers"])


class Writer:
    def __init__(self, url: str, name: str, folder: Path) -> None:
        self._lines = folder / f"{name}.acknowledged"
        self._errors = folder / f"{name}.errors"
        for file in (self._lines, self._errors):
            file.touch()
        self._process = FORKS.Process(target=writers.write, args=(url, name, self._lines, self._errors))
        self._process.start()

    def has_written(self, lines: int) -> bool:
        return self._lines.read_bytes().count(b"\n") >= lines

    def kill(self) -> tuple[list[str], str]:
        """What was acknowledged, and what it complained of."""
        self._process.kill()
        self._process.join(60)
        assert self._process.exitcode == -signal.SIGKILL, self._process.exitcode
        self._process.close()
        return self._lines.read_text().splitlines(), self._errors.read_text()


@pytest.mark.soak
def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "stock.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)

    acknowledged, complaints = kill_at_random(f"sqlite:///{path}", tmp_path)

    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = Counter(key for (key,) in connection.execute("SELECT key FROM movements"))
        quantity, total = connection.execute(
            "SELECT quantity, (SELECT sum(delta) FROM movements) FROM stock"
        ).fetchone()
        intact = connection.execute("PRAGMA integrity_check").fetchone()
    assert complaints == ""
    assert len(acknowledged) > KILLS * 3
    assert [key for key in acknowledged if rows[key] == 0] == []
    assert [key for key, times in rows.items() if times > 1] == []
    assert quantity == total
    assert intact == ("ok",)
    # Committed, but killed before they could say so: at most what was under way.
    assert len(rows) - len(acknowledged) <= (KILLS + PROCESSES) * TASKS


def kill_at_random(url: str, folder: Path) -> tuple[list[str], str]:
    """Keeps four processes writing and kills one of them at a time."""
    chance = dice()
    names = (f"writer{n}" for n in itertools.count())
    writing = [Writer(url, next(names), folder) for _ in range(PROCESSES)]
    acknowledged: list[str] = []
    complaints = ""
    deadline = time.monotonic() + SECONDS
    for kill in range(KILLS + PROCESSES):
        victim, lines = writing.pop(0), chance.randint(1, MOST_LINES)
        while not victim.has_written(lines) and time.monotonic() < deadline:
            time.sleep(chance.uniform(0, 0.02))
        lines, errors = victim.kill()
        acknowledged += lines
        complaints += errors
        if kill < KILLS:
            writing.append(Writer(url, next(names), folder))
    return acknowledged, complaints
