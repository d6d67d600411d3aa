"""Which variables an application is exported with, and which of them are secrets."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from coachman.export.application import PREFIX, Secret

# What the image or the engine decides in a container, and what only a master heeds.
LEFT_OUT = frozenset(
    {
        *("bind", "host", "port", "uds", "ops_bind", "runtime_dir", "env_file", "certfile", "keyfile"),
        *("workers", "preload", "rebalance", "boot_seconds", "hang_seconds", "pool_seconds"),
        *("max_requests", "max_age_seconds", "max_rss_mb"),
    }
)
_SECRET_NAME = re.compile(
    r"(SECRET|PASSWORD|PASSWD|PASSPHRASE|TOKEN|CREDENTIAL|PRIVATE|DSN|API_?KEY|ACCESS_?KEY)|_KEYS?$"
)
_ADDRESS_WITH_PASSWORD = re.compile(r"\w[\w+.-]*://[^/\s@]*:[^/\s@]*@")
_DATABASE = re.compile(r"(postgres(ql)?|mysql|mariadb|mongodb|redis|rediss|amqp|amqps)(\+\w+)?://")


def is_secret(name: str, value: str) -> bool:
    """Whether a value must not stand in a file: by its name, or since it is an address with a password."""
    if name.endswith("_FILE"):
        return False  # a path
    return bool(_SECRET_NAME.search(name) or _ADDRESS_WITH_PASSWORD.search(value) or _DATABASE.match(value))


def divide(
    variables: Mapping[str, str], secrets: Iterable[str], files: Mapping[str, str]
) -> tuple[dict[str, str], tuple[Secret, ...]]:
    """Returns what stands in the files, and what the engine keeps.

    `secrets` are names that are secret whatever they look like. `files` are those that hold the path of a
    secret file, such as {"SHOP_KEYS_FILE": "var/keys"}.
    """
    named = set(secrets)
    plain = {
        name: value
        for name, value in variables.items()
        if name not in named and name not in files and not is_secret(name, value)
    }
    values = sorted((variables.keys() | named) - plain.keys() - files.keys())
    kept = [Secret(name, _key(name)) for name in values]
    kept += [Secret(name, _key(Path(path).name), path) for name, path in sorted(files.items())]
    return plain, tuple(kept)


def of_settings(values: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings of Coachman that mean something in a container, as variables."""
    return {f"{PREFIX}{name.upper()}": value for name, value in values.items() if name not in LEFT_OUT}


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
