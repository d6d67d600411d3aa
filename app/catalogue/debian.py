"""Rows for a demonstration: the packages of this Debian machine, installed ones first."""

import itertools
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from app.catalogue.rows import CatalogueError, Row

INSTALLED = ("dpkg-query", "-W", "-f=${Package}\\t${Version}\\t${Installed-Size}\\t${binary:Summary}\\n")
AVAILABLE = ("apt-cache", "dumpavail")
LONGEST_SKU = 64
OPENING_STOCK_CYCLE = 500


def packages(count: int) -> Iterator[Row]:
    """At most `count` packages, each name once."""
    if not shutil.which(INSTALLED[0]):
        raise CatalogueError(
            "this machine has no dpkg, and demo-data is made of Debian packages; "
            "load a catalogue of your own: python -m app import FILE"
        )
    return itertools.islice(_each_name_once(itertools.chain(_installed(), _available())), count)


def _each_name_once(rows: Iterable[Row]) -> Iterator[Row]:
    # A package installed for two architectures is listed twice, and dumpavail lists the installed ones again.
    seen: set[object] = set()
    for row in rows:
        if row.values["sku"] not in seen:
            seen.add(row.values["sku"])
            yield row


def _installed() -> Iterator[Row]:
    with _output_of(INSTALLED) as lines:
        for number, line in enumerate(lines, start=1):
            package, version, kibibytes, summary = line.rstrip("\n").split("\t", 3)
            yield from _row(number, package, version, kibibytes, summary)


def _available() -> Iterator[Row]:
    """The packages in apt's lists; none where apt is missing or its lists were never fetched."""
    if not shutil.which(AVAILABLE[0]):
        return
    with _output_of(AVAILABLE) as lines:
        for number, stanza in enumerate(_stanzas(lines), start=1):
            keys = ("Package", "Version", "Installed-Size", "Description")
            package, version, kibibytes, summary = (stanza.get(key, "") for key in keys)
            yield from _row(number, package, version, kibibytes, summary)


def _stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    for line in lines:
        if line == "\n":
            yield stanza
            stanza = {}
        elif not line.startswith(" "):
            key, _, value = line.partition(":")
            stanza[key.removesuffix("-en")] = value.strip()
    if stanza:
        yield stanza


def _row(number: int, package: str, version: str, kibibytes: str, summary: str) -> Iterator[Row]:
    """One row, or none for a package without a version or with a name too long for a SKU."""
    if not (package and version) or len(package) > LONGEST_SKU:
        return
    size = int(kibibytes) if kibibytes.isdecimal() else None
    yield Row(
        number,
        {
            "sku": package,
            "name": f"{package} {version}",
            "description": summary or None,
            "unit_price": size,
            "quantity": 1 + (size or 0) % OPENING_STOCK_CYCLE,
        },
    )


@contextmanager
def _output_of(command: tuple[str, ...]) -> Iterator[Iterable[str]]:
    """The lines of its standard output; the program is ended when the reader has had enough."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()
