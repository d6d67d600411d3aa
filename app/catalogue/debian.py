"""Rows for a demonstration: the packages of this Debian machine, installed ones first."""

import itertools
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from app.catalogue.rows import CatalogueError, Row

KEYS = ("db:Status-Status", "Package", "Version", "Installed-Size", "binary:Summary")
INSTALLED = ("dpkg-query", "-W", "-f=" + "\\t".join(f"${{{key}}}" for key in KEYS) + "\\n")
AVAILABLE = ("apt-cache", "dumpavail")
AVAILABLE_KEYS = ("Package", "Version", "Installed-Size", "Description")
LONGEST_SKU = 64
OPENING_STOCK_CYCLE = 500


class Package(NamedTuple):
    name: str
    version: str
    kibibytes: str
    summary: str


def packages(count: int) -> Iterator[Row]:
    """Yields at most `count` packages, each name once."""
    if not shutil.which(INSTALLED[0]):
        raise CatalogueError(
            "this machine has no dpkg, and demo-data is made of Debian packages; "
            "load a catalogue of your own: python -m app import FILE"
        )
    unique = _each_name_once(itertools.chain(_installed(), _available()))
    for number, package in enumerate(itertools.islice(unique, count), start=1):
        yield Row(number, _values(package))


def _each_name_once(packages: Iterable[Package]) -> Iterator[Package]:
    # One installed for two architectures is listed twice, and dumpavail lists the installed ones again.
    seen: set[str] = set()
    for package in packages:
        if package.version and len(package.name) <= LONGEST_SKU and package.name not in seen:
            seen.add(package.name)
            yield package


def _installed() -> Iterator[Package]:
    with _output_of(INSTALLED) as lines:
        for line in lines:
            status, *package = line.rstrip("\n").split("\t", 4)
            if status == "installed":
                yield Package(*package)


def _available() -> Iterator[Package]:
    """Yields the packages in apt's lists; none where apt is missing or its lists were never fetched."""
    if not shutil.which(AVAILABLE[0]):
        return
    with _output_of(AVAILABLE) as lines:
        for stanza in _stanzas(lines):
            yield Package(*(stanza.get(key, "") for key in AVAILABLE_KEYS))


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


def _values(package: Package) -> dict[str, object]:
    size = int(package.kibibytes) if package.kibibytes.isdecimal() else None
    return {
        "sku": package.name,
        "name": f"{package.name} {package.version}",
        "description": package.summary or None,
        "unit_price": size,
        "quantity": 1 + (size or 0) % OPENING_STOCK_CYCLE,
    }


@contextmanager
def _output_of(command: tuple[str, ...]) -> Iterator[Iterable[str]]:
    """Yields the lines of its standard output, and ends the program when the caller stops reading."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()
