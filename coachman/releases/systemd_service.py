"""Asks and moves the installed service: by systemctl, and over its ops listener."""

import contextlib
import http.client
import json
import pwd
import time
from dataclasses import dataclass
from typing import Any

from coachman.releases.command import RefusedError, run
from coachman.releases.instance import Instance
from coachman.releases.layout import Release
from coachman.system import sockets

MOVE_SECONDS = 700  # above TimeoutStopSec and TimeoutStartSec together
STEP_SECONDS = 300  # a check, a migration: as the unit's TimeoutStartSec
READY_SECONDS = 15
CONNECT_SECONDS = 5
# What a check or a migration shares with the service, drop-ins included.
SHARED = (
    *("User", "Group", "StateDirectory", "StateDirectoryMode", "UMask", "Environment", "LoadCredential"),
    *("ConfigurationDirectory", "ConfigurationDirectoryMode"),
    *("PrivateNetwork", "PrivateTmp", "ProtectSystem", "ProtectHome", "NoNewPrivileges", "PrivateDevices"),
)


@dataclass(frozen=True)
class Service:
    """The installed service of one application."""

    instance: Instance

    def run_as_service(self, release: Release, *command: str) -> str:
        """Runs `python -m coachman` of the release and returns what it printed.

        Raises RefusedError with that when it fails.
        """
        done = run(
            *("systemd-run", "--pipe", "--wait", "--collect", "--quiet", "--service-type=exec"),
            *(f"--property={property}" for property in self._shared_properties()),
            f"--property=WorkingDirectory={release.folder}",
            f"--property=RuntimeMaxSec={STEP_SECONDS}",
            *(str(release.python), "-m", "coachman", *command),
            seconds=STEP_SECONDS + 30,
        )
        if done.returncode:
            raise RefusedError(done.stdout.strip() or f"`coachman {' '.join(command)}` ended without a word.")
        return done.stdout.strip()

    def owner(self) -> tuple[int, int] | None:
        """Returns the user and the group that the service runs as; None where there is no such user."""
        name = run("systemctl", "show", "--value", "--property=User", self.instance.service).stdout.strip()
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            return None
        return user.pw_uid, user.pw_gid

    def is_active(self) -> bool:
        return run("systemctl", "is-active", self.instance.service).stdout.strip() == "active"

    def reload(self) -> None:
        """Returns when the new generation serves. Raises RefusedError with what it said."""
        self._move("reload", self.instance.service)

    def restart(self) -> None:
        self._move("restart", self.instance.service)

    def stop(self) -> None:
        run("systemctl", "stop", self.instance.service, *self.instance.sockets, seconds=MOVE_SECONDS)

    def generation(self) -> int:
        """Returns the generation that serves; 0 when nobody answers."""
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            return int(self._readyz()["generation"])
        return 0

    def confirm(self, *, above: int) -> dict[str, Any]:
        """Waits until all workers of a later generation serve, and returns what /readyz answers."""
        deadline = time.monotonic() + READY_SECONDS
        answer: Any = "nothing"
        while time.monotonic() < deadline:
            try:
                answer = self._readyz()
                if answer["status"] == "ready" and answer["generation"] > above:
                    return dict(answer)
            except (OSError, ValueError, http.client.HTTPException) as error:
                answer = error
            time.sleep(0.1)
        raise RefusedError(f"/readyz does not confirm the new generation; it says: {answer}")

    def _move(self, verb: str, *units: str) -> None:
        began = time.time()
        done = run("systemctl", verb, *units, seconds=MOVE_SECONDS)
        if done.returncode:
            raise RefusedError(self._said_since(began) or done.stdout.strip())

    def _said_since(self, began: float) -> str:
        """Returns the service's own log lines, which say more than systemctl does."""
        journal = run(
            "journalctl",
            "--unit",
            self.instance.service,
            "--output=cat",
            "--no-pager",
            f"--since=@{int(began)}",
            "-n",
            "30",
        )
        return journal.stdout.strip()

    def _readyz(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("localhost", timeout=5)
        with contextlib.closing(connection):
            connection.sock = sockets.connect(self._ops_address(), CONNECT_SECONDS)
            connection.request("GET", "/readyz")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer

    def _ops_address(self) -> sockets.Address:
        """Asks systemd, which says "127.0.0.1:9100 (Stream)": a drop-in may have changed the address."""
        listen = run("systemctl", "show", "--value", "--property=Listen", self.instance.sockets[1]).stdout
        address = listen.partition(" ")[0]
        return sockets.parse_address(f"unix:{address}" if address.startswith("/") else address)

    def _shared_properties(self) -> list[str]:
        shown = run(
            "systemctl",
            "show",
            f"--property={','.join((*SHARED, 'EnvironmentFiles'))}",
            self.instance.service,
        ).stdout
        properties = []
        for line in shown.splitlines():
            name, _, value = line.partition("=")
            if name == "EnvironmentFiles":
                path, _, option = value.partition(" ")
                value = f"-{path}" if "ignore_errors=yes" in option else path
                name = "EnvironmentFile"
            if value:
                properties.append(f"{name}={value}")
        return properties
