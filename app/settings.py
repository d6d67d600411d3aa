"""What the application reads from its environment, as SHOP_<NAME>."""

import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from durable_database.location import is_postgresql, printable

PREFIX, OLD_PREFIX = "SHOP_", "COACHMAN_"
INSTALLED = Path("/etc/coachman")  # where systemd does not say CONFIGURATION_DIRECTORY

SettingsT = TypeVar("SettingsT", bound="Settings")

log = logging.getLogger(__name__)


def _database(url: str) -> str:
    if not is_postgresql(url):
        return _sqlite_file(url)
    # Host, user and password may come from libpq's own variables and files, the name may not.
    # `databases` logs the URL, and hides a password only where passwords usually stand.
    parts = urlsplit(url)
    if not parts.path.strip("/") or "\0" in url or "password=" in parts.query:
        raise ValueError("no database is named, or its password is in the query")
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


def _database_url() -> str:
    """A file in the unit's state directory (systemd sets STATE_DIRECTORY), else in var/ of this folder."""
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or "var"
    return f"sqlite:///{folder}/coachman.db"


def _keys_file() -> Path:
    """systemd's credential `keys`, else the installed unit's file, else that of this folder."""
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere"), "keys")
    if credential.exists():
        return credential
    return installed_keys() if "STATE_DIRECTORY" in os.environ else Path("var/keys")


def installed_keys() -> Path:
    """That of the unit: each of several applications on a machine has a folder of its own."""
    folder = os.environ.get("CONFIGURATION_DIRECTORY", "").partition(":")[0]
    return (Path(folder) if folder else INSTALLED) / "keys"


class Settings(BaseSettings):
    """Each description ends the sentence "SHOP_<NAME>=<value> is refused: it must be ..."."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        secrets_dir=os.environ.get("CREDENTIALS_DIRECTORY"),  # systemd's LoadCredential
    )

    database_url: Annotated[str, AfterValidator(_database)] = Field(
        default_factory=_database_url,
        description="sqlite:///PATH (four slashes for an absolute path), a file, without a query, "
        "or postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    )
    database_connections: int = Field(5, ge=1, le=100, description="a whole number from 1 to 100")
    inline_reads: bool = Field(True, description="on or off")
    threads: int = Field(40, ge=1, le=1000, description="a whole number from 1 to 1000")
    max_body_bytes: int = Field(
        1024 * 1024, ge=1024, le=1024**3, description="a whole number of bytes from 1024 to 1073741824"
    )
    keys_file: Path = Field(default_factory=_keys_file, description="a file")
    keys_for: Literal["nothing", "writes", "all"] = Field("writes", description="nothing, writes or all")
    docs: bool = Field(True, description="on or off")


def load_settings() -> Settings:
    return load(Settings)


def load(kind: type[SettingsT]) -> SettingsT:
    """The settings, or the end of the process with one sentence: the key, the value and the cure."""
    old = _values_of_old_names(kind)
    try:
        settings = kind(**old)
    except ValidationError as error:
        problem = error.errors()[0]
        field = str(problem["loc"][0])
        key = f"{OLD_PREFIX if field in old else PREFIX}{field.upper()}"
        value = printable(str(problem["input"]))
        wanted = kind.model_fields[field].description
        raise SystemExit(f"{key}={value} is refused: it must be {wanted}.") from None
    _warn_of_old_names(settings, old)
    return settings


def _values_of_old_names(kind: type[Settings]) -> dict[str, Any]:
    """Until version 0.1 the names began with COACHMAN_; a setting's own name wins over its old one."""
    return {
        name: os.environ[f"{OLD_PREFIX}{name.upper()}"]
        for name in kind.model_fields
        if os.environ.get(f"{OLD_PREFIX}{name.upper()}") and not os.environ.get(f"{PREFIX}{name.upper()}")
    }


def _warn_of_old_names(settings: Settings, old: dict[str, Any]) -> None:
    # The unit sets two old names for releases of version 0.1: these values are the defaults, and no news.
    defaults = type(settings).model_construct()
    names = [name for name in old if getattr(settings, name) != getattr(defaults, name)]
    if names:
        log.warning(
            "%s: from the next version on the application reads %s instead; rename them in its environment",
            ", ".join(f"{OLD_PREFIX}{name.upper()}" for name in names),
            ", ".join(f"{PREFIX}{name.upper()}" for name in names),
        )
