"""What coachman reads from its environment. The master reads it once; workers inherit it by fork."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

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

from coachman.system.cpus import default_workers
from coachman.system.event_loop import ALIASES
from coachman.system.sockets import parse_address

MOST_WORKERS = 256

LogLevel = Literal["debug", "info", "warning", "error", "critical"]


def _address(value: str) -> str:
    parse_address(value)
    return value


def _loop(value: str) -> str:
    if value in ALIASES or re.fullmatch(r"[\w.]+:[\w.]+", value):
        return value
    raise ValueError("no such loop")


def _sizes(value: object) -> object:
    """{"/uploads/": 104857600} of "/uploads/=104857600"."""
    if not isinstance(value, str):
        return value
    pairs = [pair.strip().partition("=") for pair in value.split(",")]
    if not all(prefix.startswith("/") and size.isdecimal() for prefix, _, size in pairs):
        raise ValueError("not /PREFIX=BYTES")
    return {prefix: int(size) for prefix, _, size in pairs}


def _proxies(value: str) -> str:
    for proxy in filter(None, value.replace("*", "").split(",")):
        ipaddress.ip_network(proxy.strip())
    return value


def _runtime_dir() -> Path:
    """That of the unit, where systemd has made one."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or "var/run")


Address = Annotated[str, AfterValidator(_address)]


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
        "app.main:app", pattern=r"^[\w.]+:\w+$", description="MODULE:ATTRIBUTE of an ASGI application"
    )
    bind: Address = Field("127.0.0.1:8000", description="HOST:PORT, [IPV6]:PORT or unix:/PATH")
    ops_bind: Address = Field("127.0.0.1:9100", description="HOST:PORT, [IPV6]:PORT or unix:/PATH")
    workers: int | None = Field(
        None,
        ge=1,
        le=MOST_WORKERS,
        validation_alias=AliasChoices("COACHMAN_WORKERS", "WEB_CONCURRENCY"),
        description=f"a whole number from 1 to {MOST_WORKERS}",
    )
    trusted_proxies: Annotated[str, AfterValidator(_proxies)] = Field(
        "", description="IP addresses or networks parted by commas, * for all, or nothing for none"
    )
    loop: Annotated[str, AfterValidator(_loop)] = Field(
        "auto", description="auto, uvloop, asyncio, rloop or MODULE:FACTORY"
    )
    log_level: Annotated[LogLevel, BeforeValidator(str.lower)] = Field(
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
    body_bytes: int = Field(1024**2, ge=1024, le=1024**4, description="bytes, from 1024")
    body_bytes_below: Annotated[dict[str, int], NoDecode, BeforeValidator(_sizes)] = Field(
        default_factory=dict, description="such as /uploads/=104857600, several parted by commas"
    )
    answer_seconds: float = Field(20, ge=1, le=3600, description="seconds, from 1 to 3600")

    max_requests: int = Field(0, ge=0, description="a whole number of requests, or 0 for no limit")
    max_age_seconds: float = Field(0, ge=0, description="seconds, or 0 for no limit")
    max_rss_mb: int = Field(0, ge=0, description="a whole number of MiB, or 0 for no limit")

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
            return self.workers, "as told"
        count, bound = default_workers()
        return min(count, MOST_WORKERS), bound

    @property
    def kill_seconds(self) -> int:
        """After a stop has begun. The drain ends in a lifespan shutdown, which has this much more."""
        return self.drain_seconds + 5


def load_settings() -> ServerSettings:
    """The settings, or the end of the process with one sentence: the key, the value and the cure."""
    try:
        return ServerSettings()
    except ValidationError as error:
        raise SystemExit("\n".join(_sentence(dict(problem)) for problem in error.errors())) from None


def _sentence(problem: dict[str, object]) -> str:
    location = problem["loc"]
    if not isinstance(location, tuple) or not location:
        return str(problem["msg"]).removeprefix("Value error, ")
    name = str(location[0]).lower().removeprefix("coachman_")
    key = f"COACHMAN_{name.upper()}"
    if name == "workers" and key not in os.environ:
        key = "WEB_CONCURRENCY"
    wanted = ServerSettings.model_fields[name].description
    return f"{key}={problem['input']} is refused: it must be {wanted}."
