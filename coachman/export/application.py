"""What every orchestrator has to know of an application."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

HEALTH = (
    "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 9100, timeout=2);"
    " c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"
)
PREFIX = "COACHMAN_"


class Secret(NamedTuple):
    """A value that the engine keeps. The files name it, and never hold it."""

    variable: str  # of the application's environment
    key: str  # what the engine calls it
    file: str = ""  # for a variable that holds a path: the file here that the secret is made from


@dataclass(frozen=True)
class Application:
    """The facts. Memory is in MiB; times are in seconds."""

    name: str
    image: str
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()
    volumes: tuple[str, ...] = ()  # folders whose content outlives a container
    replicas: int = 2
    memory: int = 384
    cpus: float = 0.5
    migrate: tuple[str, ...] = ()
    drain: int = 20
    boot: float = 60
    hang: float = 30

    @property
    def values(self) -> tuple[Secret, ...]:
        """Secrets that are a variable's value."""
        return tuple(secret for secret in self.secrets if not secret.file)

    @property
    def files(self) -> tuple[Secret, ...]:
        """Secrets that are a file, whose path a variable holds."""
        return tuple(secret for secret in self.secrets if secret.file)

    @property
    def own_variables(self) -> dict[str, str]:
        """The application's variables alone, which a migration needs too."""
        return {name: value for name, value in self.variables.items() if not name.startswith(PREFIX)}

    def volume_name(self, path: str) -> str:
        """Returns a name for the volume that is mounted at `path`."""
        return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")

    def facts(self) -> dict[str, str]:
        """Returns what the templates of all engines name."""
        repository, _, tag = self.image.rpartition(":")
        return {
            "name": self.name,
            "image": self.image,
            "repository": repository,
            "tag": tag,
            "replicas": str(self.replicas),
            "most_replicas": str(4 * self.replicas),
            "memory": str(self.memory),
            "half_memory": str(self.memory // 2),
            "cpus": f"{self.cpus:g}",
            "millicpus": f"{self.cpus * 1000:.0f}",
            "drain": str(self.drain),
            # A pause of up to 5 s before SIGTERM, the end of the lifespan 5 s, and 10 s of margin.
            "grace": str(self.drain + 20),
            "misses": str(max(3, round(self.hang / 10))),
            "boot": f"{max(self.boot, 1):.0f}",
        }
