"""A file of the newest records, which never grows. One process writes it, any may read."""

import contextlib
import functools
import json
import os
from pathlib import Path
from typing import Any

AHEAD_SECONDS = 1.0  # what lies further ahead was recorded before the clock was set back
_CUT = "..."
_LONGEST_KEPT = 512  # bytes of a line that is kept decoded


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, default=str).encode(errors="replace")


class Ring:
    """Each record is a line of JSON in a place of its own; the next one overwrites the oldest."""

    def __init__(self, path: Path, record_bytes: int, records: int) -> None:
        self._path, self._record_bytes, self._records = path, record_bytes, records
        self._file: int | None = None
        self._number = max((record["n"] for record in read(path)), default=-1) + 1

    def write(self, **fields: Any) -> None:
        """Never fails: a disk without room, or a record that cannot be shortened enough, costs the record."""
        line = self._fit({"n": self._number, **fields})
        if line is None:
            return
        with contextlib.suppress(OSError):
            if self._file is not None and not os.fstat(self._file).st_nlink:  # it was removed
                os.close(self._file)
                self._file = None
            if self._file is None:
                self._path.parent.mkdir(exist_ok=True)
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
                os.ftruncate(self._file, self._records * self._record_bytes)
            os.pwrite(self._file, line, self._number % self._records * self._record_bytes)
            self._number += 1

    def _fit(self, fields: dict[str, Any]) -> bytes | None:
        """The record as a line, with its message cut where it is too long; None where that is not enough."""
        line = _encode(fields)
        while len(line) >= self._record_bytes:
            message = str(fields.get("message", ""))
            if len(message) <= len(_CUT) + 1:
                return None
            fields["message"] = message[: len(message) * 3 // 4 - len(_CUT)] + _CUT
            line = _encode(fields)
        return line.ljust(self._record_bytes - 1) + b"\n"


def _decode(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict) and "n" in record and "time" in record:
            return record
    return None


# The page's files are read once a second, and in each of them one line is new.
_decode_again = functools.lru_cache(maxsize=1024)(_decode)


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the records in no order, without one that is being written.

    They are not to be changed: the next reader gets the same.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return []
    lines = (line.strip(b"\0 ") for line in content.splitlines())
    found = (_decode_again(line) if len(line) <= _LONGEST_KEPT else _decode(line) for line in lines if line)
    return [record for record in found if record is not None]
