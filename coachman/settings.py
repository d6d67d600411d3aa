"""What coachman reads from its environment and pyproject.toml. A master reads it once; workers inherit it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from coachman.system import project_file, setting_values
from coachman.system.addresses import with_parts
from coachman.system.cpus import default_workers
from coachman.system.misspelled import misspelled

MOST_WORKERS = 256
BIND = "127.0.0.1:8000"
# What is read where the setting of ours has no value of its own.
OTHER_NAMES = {"workers": "WEB_CONCURRENCY", "port": "PORT"}
_PARTS_OF_BIND = ("host", "port", "uds")
LogLevel = Literal["debug", "info", "warning", "error", "critical"]


def _runtime_dir() -> Path:
    """That of the unit, where systemd has made one."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or "var/run")


BoolOrAuto = Annotated[bool | None, BeforeValidator(setting_values.unless_auto)]
Address = Annotated[str, AfterValidator(setting_values.address)]
Host = Annotated[str, AfterValidator(setting_values.host)]


class ServerSettings(BaseSettings):
    """Each description ends the sentence "COACHMAN_<NAME>=<value> is refused: it must be ..."."""

    model_config = SettingsConfigDict(
        env_prefix="COACHMAN_",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        secrets_dir=os.environ.get("CREDENTIALS_DIRECTORY"),  # systemd's LoadCredential
    )

    app: str = Field(
        "",  # looked for: see app_finder.py
        pattern=r"^[^\s:]+(:[\w.]+(\(\))?)?$|^$",
        description="MODULE:ATTRIBUTE of an ASGI application, such as main:app or main:create_app()",
    )
    app_dir: Path = Field(Path(), description="the folder that the application is imported from")
    factory: bool = Field(False, description="true or false: whether the application's name is a function's")
    env_file: Path | None = Field(None, description="a file of NAME=VALUE lines")
    root_path: str = Field(
        "",
        pattern=r"^(/[\w.~!$&'()*+,;=:@-]+)*$",
        description="a path such as /api/v1, without a slash at its end, or nothing",
    )
    preload: BoolOrAuto = Field(None, description="auto, true or false")
    compile: Literal["auto", "off", "require"] = Field("auto", description="auto, off or require")
    compile_leave: Annotated[tuple[str, ...], NoDecode, BeforeValidator(setting_values.names)] = Field(
        (), description="paths or endpoints' names, parted by commas"
    )
    probe: str = Field("", pattern=r"^(/\S*)?$", description="a path such as /health, or nothing")
    bind: Address = Field(BIND, description="HOST:PORT, [IPV6]:PORT or unix:/PATH")
    host: Host | None = Field(None, description="a host name or an IP address")
    port: int | None = Field(
        None,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("COACHMAN_PORT", "PORT"),
        description="a whole number from 0 to 65535",
    )
    uds: str | None = Field(None, description="the path of a unix socket")
    certfile: str | None = Field(None, description="the path of a certificate in PEM form")
    keyfile: str | None = Field(None, description="the path of the certificate's key in PEM form")
    ops_bind: Address = Field("127.0.0.1:9100", description="HOST:PORT, [IPV6]:PORT or unix:/PATH")
    workers: int | None = Field(
        None,
        ge=1,
        le=MOST_WORKERS,
        validation_alias=AliasChoices("COACHMAN_WORKERS", "WEB_CONCURRENCY"),
        description=f"a whole number from 1 to {MOST_WORKERS}",
    )
    trusted_proxies: Annotated[str, AfterValidator(setting_values.proxies)] = Field(
        "", description="IP addresses or networks parted by commas, * for all, or nothing for none"
    )
    loop: Annotated[str, AfterValidator(setting_values.loop)] = Field(
        "auto", description="auto, uvloop, asyncio, rloop or MODULE:FACTORY"
    )
    log_level: Annotated[LogLevel, BeforeValidator(setting_values.lowered)] = Field(
        "info", description="debug, info, warning, error or critical"
    )
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto, json or text")
    access_log: Literal["off", "on", "slow"] = Field("slow", description="off, on or slow")
    slow_seconds: float = Field(1.0, ge=0, description="seconds, 0 or more")
    request_ids: bool = Field(True, description="true or false")
    metrics: bool = Field(True, description="true or false")
    rebalance: bool = Field(True, description="true or false")
    runtime_dir: Path = Field(default_factory=_runtime_dir, description="a folder")

    # The order in which these end each other: docs/timeouts.md.
    keepalive_seconds: int = Field(5, ge=1, le=3600, description="whole seconds, from 1 to 3600")
    request_seconds: float = Field(0, ge=0, le=3600, description="seconds, at most 3600, or 0 for no limit")
    drain_seconds: int = Field(20, ge=1, le=3600, description="whole seconds, from 1 to 3600")
    boot_seconds: float = Field(60, ge=1, le=3600, description="seconds, from 1 to 3600")
    hang_seconds: int = Field(30, ge=1, le=3600, description="whole seconds, from 1 to 3600")
    pool_seconds: float = Field(60, ge=0, le=3600, description="seconds, from 2 to 3600, or 0 for no limit")

    # What a client may send, and how long it may take: docs/security.md.
    connections: int = Field(1000, ge=4, le=100_000, description="a whole number from 4 to 100000")
    head_seconds: float = Field(10, ge=1, le=3600, description="seconds, from 1 to 3600")
    head_bytes: int = Field(32 * 1024, ge=1024, le=1024**2, description="bytes, from 1024 to 1048576")
    head_fields: int = Field(100, ge=10, le=10_000, description="a whole number from 10 to 10000")
    target_bytes: int = Field(8 * 1024, ge=256, le=65_535, description="bytes, from 256 to 65535")
    body_seconds: float = Field(10, ge=1, le=3600, description="seconds, from 1 to 3600")
    body_bytes: int = Field(100 * 1024**2, ge=1024, le=1024**4, description="bytes, from 1024")
    body_bytes_below: Annotated[dict[str, int], NoDecode, BeforeValidator(setting_values.sizes)] = Field(
        default_factory=dict, description="such as /uploads/=104857600, several parted by commas"
    )
    answer_seconds: float = Field(20, ge=1, le=3600, description="seconds, from 1 to 3600")

    max_requests: int = Field(0, ge=0, description="a whole number of requests, or 0 for no limit")
    max_age_seconds: float = Field(0, ge=0, description="seconds, or 0 for no limit")
    max_rss_mb: int = Field(0, ge=0, description="a whole number of MiB, or 0 for no limit")

    @model_validator(mode="before")
    @classmethod
    def read_project_file_and_parts(cls, data: Any) -> Any:
        """What neither a flag nor the environment has set may stand in pyproject.toml."""
        values = dict(data)
        for name, value in _of_project_file(values).items():
            values[_key(name)] = value
        port = next((values[key] for key in ("COACHMAN_PORT", "PORT") if key in values), None)
        values["bind"] = with_parts(
            values.get("bind", BIND), values.get("host"), values.get("port", port), values.get("uds")
        )
        return values

    @model_validator(mode="after")
    def refuse_one_address_for_both_listeners(self) -> Self:
        if self.bind == self.ops_bind:
            raise ValueError(
                f"COACHMAN_OPS_BIND={self.ops_bind} is COACHMAN_BIND too: give the ops listener its own"
            )
        return self

    @field_validator("pool_seconds")
    @classmethod
    def refuse_less_than_two_looks(cls, value: float) -> float:
        if 0 < value < 2:  # the pool is looked at once a second: a queue of a moment would do
            raise ValueError("too short")
        return value

    @model_validator(mode="after")
    def refuse_timeouts_out_of_order(self) -> Self:
        for key, value, why in (
            ("KEEPALIVE", self.keepalive_seconds, "an idle connection stays open so long in a drain too"),
            ("REQUEST", self.request_seconds, "a drain would cut requests that are still allowed to run"),
        ):
            if value >= self.drain_seconds:
                raise ValueError(
                    f"COACHMAN_{key}_SECONDS={value:g} is refused: it must be below"
                    f" COACHMAN_DRAIN_SECONDS={self.drain_seconds:g}, for {why}"
                )
        return self

    def worker_count(self) -> tuple[int, str]:
        """How many workers to start, and what decided it, such as (2, "CPU affinity")."""
        if self.workers:
            return self.workers, "COACHMAN_WORKERS"
        count, bound = default_workers()
        return min(count, MOST_WORKERS), bound

    @property
    def kill_seconds(self) -> int:
        """After a stop has begun. The drain ends in a lifespan shutdown, which has this much more."""
        return self.drain_seconds + 5


def _key(name: str) -> str:
    """Under which a value of this setting is given to the model."""
    return f"COACHMAN_{name.upper()}" if name in OTHER_NAMES else name


def _of_project_file(values: Mapping[str, Any]) -> dict[str, Any]:
    """The project file's values that nothing of higher rank has set."""
    found = project_file.read(Path.cwd())
    if unknown := sorted(set(found) - set(ServerSettings.model_fields)):
        raise ValueError(
            f"{project_file.NAME}: tool.coachman has no setting {unknown[0]}: see docs/settings.md"
        )
    if "bind" in values:
        found = {name: value for name, value in found.items() if name not in _PARTS_OF_BIND}
    if any(name in values or _key(name) in values for name in (*_PARTS_OF_BIND, "PORT")):
        found.pop("uds", None)
    return {
        name: setting_values.of_toml(value) for name, value in found.items() if not _is_given(name, values)
    }


def _is_given(name: str, values: Mapping[str, Any]) -> bool:
    return any(key in values for key in (name, _key(name), OTHER_NAMES.get(name, name)))


def load_settings(names: Mapping[str, str] | None = None) -> ServerSettings:
    """The settings, or the end of the process with one sentence: the key, the value and the cure.

    `names` has what the user has written in the place of COACHMAN_<NAME>, such as {"workers": "--workers"}.
    """
    try:
        return ServerSettings()
    except ValidationError as error:
        sentences = [_sentence(dict(problem), names or {}) for problem in error.errors()]
        raise SystemExit("\n".join(sentences)) from None


def _sentence(problem: dict[str, object], names: Mapping[str, str]) -> str:
    location = problem["loc"]
    if not isinstance(location, tuple) or not location:
        return str(problem["msg"]).removeprefix("Value error, ")
    name = str(location[0]).lower().removeprefix("coachman_")
    name = {"web_concurrency": "workers"}.get(name, name)
    wanted = ServerSettings.model_fields[name].description
    return f"{source_key(name, names)}={problem['input']} is refused: it must be {wanted}."


def source_key(name: str, names: Mapping[str, str]) -> str:
    """What the user has set: a flag, a variable, or a key of pyproject.toml."""
    key = f"COACHMAN_{name.upper()}"
    other = OTHER_NAMES.get(name, "")
    if name in names:
        return names[name]
    if not os.environ.get(key) and os.environ.get(other):
        return other
    if not os.environ.get(key) and name in project_file.read(Path.cwd()):
        return f"{project_file.NAME}: tool.coachman.{name}"
    return key


def misspelled_settings() -> list[str]:
    """A sentence for each variable that looks like a setting and is none, such as COACHMAN_WORKRES."""
    return misspelled(os.environ, "COACHMAN_", ServerSettings.model_fields)
