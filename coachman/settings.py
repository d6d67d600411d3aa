"""What coachman reads from its environment. The master reads it once; workers inherit it by fork."""

import os
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from coachman.event_loop import ALIASES

LogLevel = Literal["debug", "info", "warning", "error", "critical"]


def parse_address(value: str) -> str | tuple[str, int]:
    """A path for `unix:/path`, else (host, port). Raises ValueError when it is neither."""
    if value.startswith("unix:/"):
        return value.removeprefix("unix:")
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError("neither HOST:PORT nor unix:/PATH")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 host stands in brackets")
    return host.strip("[]"), int(port)


def _address(value: str) -> str:
    parse_address(value)
    return value


def _loop(value: str) -> str:
    if value in ALIASES or re.fullmatch(r"[\w.]+:[\w.]+", value):
        return value
    raise ValueError("no such loop")


Address = Annotated[str, AfterValidator(_address)]


class ServerSettings(BaseSettings):
    """Each description ends the sentence "COACHMAN_<NAME>=<value> is refused: it must be ..."."""

    model_config = SettingsConfigDict(
        env_prefix="COACHMAN_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    app: str = Field(
        "app.main:app", pattern=r"^[\w.]+:\w+$", description="MODULE:ATTRIBUTE of an ASGI application"
    )
    bind: Address = Field("127.0.0.1:8000", description="HOST:PORT, [IPV6]:PORT or unix:/PATH")
    ops_bind: Address = Field("127.0.0.1:9100", description="HOST:PORT, [IPV6]:PORT or unix:/PATH")
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        validation_alias=AliasChoices("COACHMAN_WORKERS", "WEB_CONCURRENCY"),
        description="a whole number from 1 to 256",
    )
    loop: Annotated[str, AfterValidator(_loop)] = Field(
        "auto", description="auto, uvloop, asyncio, rloop or MODULE:FACTORY"
    )
    log_level: Annotated[LogLevel, BeforeValidator(str.lower)] = Field(
        "info", description="debug, info, warning, error or critical"
    )

    @model_validator(mode="after")
    def refuse_one_address_for_both_listeners(self) -> Self:
        if self.bind == self.ops_bind:
            raise ValueError(
                f"COACHMAN_OPS_BIND={self.ops_bind} is COACHMAN_BIND too: give the ops listener its own"
            )
        return self


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
