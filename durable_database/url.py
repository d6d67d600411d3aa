"""What a database URL says."""

from pathlib import Path

import databases


def sqlite_file(url: str) -> Path:
    """The file that a sqlite:/// URL names."""
    return Path(databases.DatabaseURL(url).database)
