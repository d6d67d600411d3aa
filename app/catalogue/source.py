"""Where rows come from, and how many there are."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from app.catalogue.csv_reader import read_csv
from app.catalogue.debian import packages
from app.catalogue.lines import Lines
from app.catalogue.ndjson_reader import read_ndjson
from app.catalogue.rows import Refusal, Row

Format = Literal["csv", "ndjson"]
READERS = {"csv": read_csv, "ndjson": read_ndjson}


@dataclass(frozen=True)
class Source:
    """`total` counts bytes when there is `consumed_bytes`, else rows; None: nobody knows."""

    name: str
    rows: Iterator[Row | Refusal]
    total: int | None
    consumed_bytes: Callable[[], int] | None = None


def file_source(name: str, content: BinaryIO, format: Format) -> Source:
    lines = Lines(content)
    return Source(name, READERS[format](lines), _size_bytes(content), lambda: lines.consumed_bytes)


def package_source(count: int) -> Source:
    return Source("demo-data", packages(count), count)


def _size_bytes(content: BinaryIO) -> int | None:
    """Returns the size of a file; None for a pipe, whose length nobody knows."""
    status = os.fstat(content.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None
