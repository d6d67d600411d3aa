"""What a database URL says, and what of it may be shown."""

import re

from databases import DatabaseURL


def is_postgresql(url: str) -> bool:
    return url.startswith("postgresql://")


def name_of(url: str) -> str:
    """What messages call the database."""
    return printable(url) if is_postgresql(url) else DatabaseURL(url).database


def printable(url: str) -> str:
    """`url` without its password."""
    url = re.sub(r"(//[^/@:]*:).*@", r"\1***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", url)
