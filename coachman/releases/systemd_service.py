"""Asks and moves the installed service: by systemctl, and over its ops listener."""

import contextlib
import http.client
import json
import pwd
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from coachman.releases import service_log
from coachman.releases.command import RefusedError, run
from coachman.releases.instance import Instance
from coachman.releases.layout import Release
from coachman.system import sockets

MOVE_SECONDS = 700  # above TimeoutStopSec and TimeoutStartSec together
STEP_SECONDS = 300  # a check, a migration: as the unit's TimeoutStartSec
READY_SECONDS = 15
CONNECT_SECONDS = 5
_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE
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
        # Not by --setenv: the unit's file of settings would win, and the sockets are systemd's all the same.
        addresses = (f"{key}={address}" for key, address in self._addresses().items())
        program = ("/usr/bin/env", *addresses, str(release.python))
        done = self._run_as_service(release, *program, "-m", "coachman", *command)
        if done.returncode:
            raise RefusedError(done.stdout.strip() or f"`coachman {' '.join(command)}` ended without a word.")
        return done.stdout.strip()

    def running_environment(self) -> dict[str, str]:
        """Returns the variables that the generation which serves was started with; none when none serves."""
        try:
            return _variables(Path("/proc", self._show("MainPID"), "environ").read_text(errors="replace"))
        except OSError:  # it has just ended, or there is none
            return {}

    def next_environment(self, release: Release) -> dict[str, str]:
        """Returns the variables that a generation of `release` would be started with."""
        return _variables(self._run_as_service(release, "/usr/bin/env", "-0").stdout)

    def environment_files(self) -> list[Path]:
        """Returns the files that the unit takes variables from."""
        shown = run("systemctl", "show", "--property=EnvironmentFiles", self.instance.service).stdout
        return [Path(line.partition("=")[2].partition(" ")[0]) for line in shown.splitlines()]

    def ask(self, path: str, *, tls: bool = False) -> str:
        """Sends a GET to the application's own address, and says what was asked and answered."""
        began = time.monotonic()
        try:
            answer, body = self._get(self.instance.sockets[0], path, tls=tls)
        except (OSError, http.client.HTTPException) as error:
            return f"GET {path}: no answer: {str(error).lower() or type(error).__name__}"
        milliseconds = (time.monotonic() - began) * 1000
        kind = answer.headers.get_content_type()
        return (
            f"GET {path}: {answer.status} {answer.reason}, {len(body)} bytes of {kind}, {milliseconds:.0f} ms"
        )

    def owner(self) -> tuple[int, int] | None:
        """Returns the user and the group that the service runs as; None where there is no such user."""
        try:
            user = pwd.getpwnam(self._show("User"))
        except KeyError:
            return None
        return user.pw_uid, user.pw_gid

    def state(self) -> str:
        """Returns systemd's word: active, inactive, failed, activating, ..."""
        return run("systemctl", "is-active", self.instance.service).stdout.strip()

    def is_active(self) -> bool:
        return self.state() == "active"

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
            return int(self.readyz()["generation"])
        return 0

    def confirm(self, *, above: int) -> dict[str, Any]:
        """Waits until all workers of a later generation serve, and returns what /readyz answers."""
        deadline = time.monotonic() + READY_SECONDS
        answer: Any = "nothing"
        while time.monotonic() < deadline:
            try:
                answer = self.readyz()
                if answer["status"] == "ready" and answer["generation"] > above:
                    return dict(answer)
            except (OSError, ValueError, http.client.HTTPException) as error:
                answer = error
            time.sleep(0.1)
        raise RefusedError(f"/readyz does not confirm the new generation; it says: {answer}")

    def _move(self, verb: str, *units: str) -> None:
        unit = self.instance.service
        began, others = time.time(), service_log.processes(unit)
        done = run("systemctl", verb, *units, seconds=MOVE_SECONDS)
        if done.returncode:
            raise RefusedError(service_log.said_since(unit, began, others) or done.stdout.strip())

    def readyz(self) -> dict[str, Any]:
        """Returns what /readyz answers. Raises OSError or ValueError when it does not."""
        answer: dict[str, Any] = json.loads(self._get(self.instance.sockets[1], "/readyz")[1])
        return answer

    def _get(
        self, socket_unit: str, path: str, *, tls: bool = False
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("localhost", timeout=CONNECT_SECONDS)
        with contextlib.closing(connection):
            connection.sock = sockets.connect(self._address(socket_unit), CONNECT_SECONDS)
            if tls:
                # The certificate is of a public name, and systemd's own socket on this machine is asked.
                connection.sock = _UNVERIFIED.wrap_socket(connection.sock)
            connection.request("GET", path, headers={"User-Agent": "coachman-release"})
            answer = connection.getresponse()
            return answer, answer.read()

    def _show(self, name: str) -> str:
        return run("systemctl", "show", "--value", f"--property={name}", self.instance.service).stdout.strip()

    def _run_as_service(self, release: Release, *command: str) -> "CompletedProcess[str]":
        return run(
            *("systemd-run", "--pipe", "--wait", "--collect", "--quiet", "--service-type=exec"),
            *(f"--property={property}" for property in self._shared_properties()),
            f"--property=WorkingDirectory={release.folder}",
            f"--property=RuntimeMaxSec={STEP_SECONDS}",
            *command,
            seconds=STEP_SECONDS + 30,
        )

    def _address(self, socket_unit: str) -> sockets.Address:
        address = self.listens_on(socket_unit)
        return sockets.parse_address(f"unix:{address}" if address.startswith("/") else address)

    def listens_on(self, socket_unit: str) -> str:
        """Returns the address as systemd has it: a drop-in may have changed that of the file."""
        listen = run("systemctl", "show", "--value", "--property=Listen", socket_unit).stdout
        return listen.partition(" ")[0]  # of "127.0.0.1:9100 (Stream)"

    def _addresses(self) -> dict[str, str]:
        """What a check says of them would else be the default."""
        found = zip(("COACHMAN_BIND", "COACHMAN_OPS_BIND"), self.instance.sockets, strict=True)
        shown = {key: self.listens_on(unit) for key, unit in found}
        return {key: f"unix:{one}" if one.startswith("/") else one for key, one in shown.items() if one}

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


def _variables(text: str) -> dict[str, str]:
    """Reads NAME=VALUE, each ended by a zero byte."""
    return dict(one.partition("=")[::2] for one in text.split("\0") if "=" in one)
