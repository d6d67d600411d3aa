"""What can be chosen for a comparison: in a TOML file, and the most asked for on the command line too."""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from loadtests.plan import PROFILES, Plan, Unit
from loadtests.replicas import with_count

MOST_WORKERS = 256  # of a service
URL, OPS_URL, COACHMAN = "http://127.0.0.1:8000", "http://127.0.0.1:9100", ".venv/bin/python -m coachman"


class ConfigError(Exception):
    """What is wrong with a choice, in one sentence."""


def _known(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(f"there are {', '.join(PROFILES)}")
    return name


class Config(BaseModel):
    """The keys of the file, as the options are called: `latency-seconds` for `latency_seconds`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    profiles: list[Annotated[str, AfterValidator(_known)]] = Field(["labels", "mixed"], min_length=1)
    workers: list[Annotated[int, Field(ge=1, le=MOST_WORKERS)]] = Field([1, 2, 3, 4], min_length=1)
    repeats: int = Field(5, ge=1)
    duration: float = Field(3, ge=0.5)
    warmup: float = Field(1, ge=0)
    latency_seconds: float = Field(8, ge=0.5)
    users: int | None = Field(None, ge=1)
    rate: float | None = Field(None, ge=0.1)
    within: float = Field(5, ge=0, le=50)
    p99_ms: float | None = Field(None, ge=0)
    mem_budget: float | None = Field(None, ge=0)
    crash_margin: bool = True
    other_cores: float = Field(0.3, ge=0)
    max_minutes: float = Field(9, ge=0.1)
    seed: int | None = None
    url: str = URL
    ops_url: str = OPS_URL
    coachman: str = COACHMAN
    scale_command: Annotated[str, AfterValidator(with_count)] | None = None

    @classmethod
    def read(cls, path: Path | None, options: dict[str, Any]) -> Self:
        """Returns what the file says, and the options in its place where they are given.

        Raises ConfigError, which names the file or the option, the key, and what would be right.
        """
        given = {name: value for name, value in options.items() if value is not None}
        found = _parse(path) if path else {}
        try:
            from_file = cls.model_validate(found)
        except ValidationError as error:
            raise ConfigError(_sentence(f"{path}: ", error)) from None
        try:
            return cls.model_validate(from_file.model_dump(exclude_unset=True) | given)
        except ValidationError as error:
            raise ConfigError(_sentence("--", error)) from None

    @property
    def unit(self) -> Unit:
        """What the numbers in `workers` count."""
        return "replica" if self.scale_command else "worker"

    def plan(self, seed: int) -> Plan:
        return Plan(
            profiles=list(dict.fromkeys(self.profiles)),
            workers=sorted(set(self.workers)),
            memory_mib=self.mem_budget,
            within=self.within / 100,
            seed=seed if self.seed is None else self.seed,
            unit=self.unit,
            **self.model_dump(
                include={
                    *("repeats", "duration", "warmup", "latency_seconds", "users", "rate", "p99_ms"),
                    *("crash_margin", "other_cores"),
                }
            ),
        )


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"--config {path} cannot be read: {reason}; nothing was measured.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is no TOML: {error}; nothing was measured.") from None


def _sentence(prefix: str, error: ValidationError) -> str:
    """Words the first mistake: the key, its value, what would be right."""
    first = error.errors()[0]
    key = str(first["loc"][0]).replace("_", "-")
    if first["type"] == "extra_forbidden":
        keys = [name.replace("_", "-") for name in Config.model_fields]
        near = difflib.get_close_matches(key.replace("_", "-"), keys, n=1)
        cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(keys)}."
        return f"{prefix}{key} is refused: there is no such key; {cure} Nothing was measured."
    right = first["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    return f"{prefix}{key} {first['input']} is refused: {right}. Nothing was measured."
