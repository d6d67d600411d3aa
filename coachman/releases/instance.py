"""Which of the applications on this machine is meant: each has its own units, user, folders and addresses."""

import re
from dataclasses import dataclass
from pathlib import Path

MOST_CHARACTERS = 20  # of a name: with "coachman-" before it, it is the name of a user


@dataclass(frozen=True)
class Instance:
    """The unnamed one, or one by its name. `id` is what all that belongs to it is called after."""

    name: str = ""

    @classmethod
    def named(cls, name: str) -> "Instance":
        """Raises ValueError with what is wrong, for a name that cannot be one."""
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or len(name) > MOST_CHARACTERS or name.endswith("-"):
            raise ValueError(
                f"it must be a letter, then letters, digits and hyphens, all lower case,"
                f" {MOST_CHARACTERS} at most"
            )
        if name == "ops" or name.endswith("-ops"):
            raise ValueError("the units of operations addresses end in -ops")
        return cls(name)

    @property
    def id(self) -> str:
        return f"coachman-{self.name}" if self.name else "coachman"

    @property
    def service(self) -> str:
        return f"{self.id}.service"

    @property
    def sockets(self) -> tuple[str, str]:
        """The public one first."""
        return f"{self.id}.socket", f"{self.id}-ops.socket"

    @property
    def root(self) -> Path:
        """The folder of its releases."""
        return Path("/opt") / self.id

    @property
    def configuration(self) -> Path:
        return Path("/etc") / self.id

    @property
    def settings(self) -> Path:
        return self.configuration / "coachman.env"

    @property
    def state(self) -> Path:
        return Path("/var/lib") / self.id

    @property
    def runtime(self) -> Path:
        return Path("/run") / self.id

    @property
    def command(self) -> str:
        """What the operator types before the name of a command."""
        return f"coachman -n {self.name}" if self.name else "coachman"


UNNAMED = Instance()
