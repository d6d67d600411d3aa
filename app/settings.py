"""What the application reads from its environment, as COACHMAN_<NAME>."""

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from durable_database.address import is_postgresql, printable

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
SettingsT = TypeVar("SettingsT", bound="Settings")


def _database(url: str) -> str:
    if not is_postgresql(url):
        return _sqlite_file(url)
    # Host, user and password may come from libpq's own variables and files, the name may not.
    # `databases` logs the URL, and hides a password only where passwords usually stand.
    parts = urlsplit(url)
    if not parts.path.strip("/") or "\0" in url or "password=" in parts.query:
        raise ValueError("no database is named, or its password stands in the query")
    return url


def _sqlite_file(url: str) -> str:
    # `databases` would make `x.db?timeout=20` the file's name, and each pooled connection to
    # `:memory:` would be a database of its own.
    path = url.removeprefix("sqlite:///")
    if (
        path == url
        or not path
        or path.endswith("/")
        or path.startswith(":memory:")
        or set("?#\0") & set(path)
    ):
        raise ValueError("not the URL of a SQLite file")
    return url


def _keys_file() -> Path:
    """systemd's LoadCredential=keys:..., where there is one."""
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere"), "keys")
    return credential if credential.exists() else Path("var/keys")


class Settings(BaseSettings):
    """Each description ends the sentence "COACHMAN_<NAME>=<value> is refused: it must be ..."."""

    model_config = SettingsConfigDict(
        env_prefix="COACHMAN_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    database_url: Annotated[str, AfterValidator(_database)] = Field(
        "sqlite:///var/coachman.db",
        description="sqlite:///PATH (four slashes for an absolute path), a file, without a query, "
        "or postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    )
    database_connections: int = Field(5, ge=1, le=100, description="a whole number from 1 to 100")
    threads: int = Field(40, ge=1, le=1000, description="a whole number from 1 to 1000")
    max_body_bytes: int = Field(
        1024 * 1024, ge=1024, le=1024**3, description="a whole number of bytes from 1024 to 1073741824"
    )
    keys_file: Path = Field(default_factory=_keys_file, description="a file")
    keys_for: Literal["nothing", "writes", "all"] = Field("writes", description="nothing, writes or all")
    docs: bool = Field(True, description="on or off")
    log_level: Annotated[LogLevel, BeforeValidator(str.lower)] = Field(
        "info", description="debug, info, warning, error or critical"
    )


def load_settings() -> Settings:
    return load(Settings)


def load(kind: type[SettingsT]) -> SettingsT:
    """The settings, or the end of the process with one sentence: the key, the value and the cure."""
    try:
        return kind()
    except ValidationError as error:
        problem = error.errors()[0]
        field = str(problem["loc"][0])
        value = printable(str(problem["input"]))
        wanted = kind.model_fields[field].description
        raise SystemExit(f"COACHMAN_{field.upper()}={value} is refused: it must be {wanted}.") from None
