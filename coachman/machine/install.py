"""What `coachman install` does: checks, then the user, folders, settings, units and the first release."""

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from coachman.machine import own_package, units
from coachman.machine.changes import Changes
from coachman.machine.settings_file import changed_settings
from coachman.machine.units import Addresses
from coachman.releases.command import RefusedError
from coachman.releases.instance import Instance
from coachman.releases.layout import Layout
from coachman.releases.origin import Origin
from coachman.releases.systemd_service import Service
from coachman.system.sockets import is_free


@dataclass(frozen=True)
class Requested:
    """What the operator has asked for. None: as it is installed, or by default."""

    source: str = "."
    ref: str = ""
    package: str | None = None
    app: str = ""
    wheels: Path | None = None
    sealed: bool | None = None
    bind: str | None = None
    ops_bind: str | None = None


def install(instance: Instance, requested: Requested, changes: Changes) -> None:
    """Installs, or brings up to date what is installed. Raises RefusedError; what stands by then is whole.

    Nothing listens, and nothing is started at a boot, before the first release serves.
    """
    os.umask(0o022)  # the service's user reads what root writes
    _require(requested, changes)
    addresses, before = choose_addresses(instance, requested), units.addresses_of(instance)
    _require_free(addresses, before)
    was_active = Service(instance).is_active()
    changes.say("Installing the command coachman")
    wheels = Layout.of(instance).wheels
    own_package.put_wheel(wheels, changes)
    own_package.put_command(wheels, requested.wheels, changes)
    _make_user_and_folders(instance, changes)
    with changed_settings(instance, requested.app, changes):
        is_changed = _install_units(instance, requested, changes)
        if was_active and addresses != before:
            _move_sockets(instance, changes)
        _release(instance, requested, changes)
    changes.run("systemctl", "--quiet", "enable", *instance.sockets, instance.service)
    if units.is_beyond_loopback(addresses.public):
        changes.say(
            f"{addresses.public} can be reached from other machines, without TLS: whatever the application"
            " does not ask a password or a key for is open to all of them"
        )
    changes.sync()
    if is_changed and was_active and addresses == before:  # else it has been restarted
        changes.say(
            f"The units have changed: systemctl restart {instance.id} brings that in; connections wait"
        )


def choose_addresses(instance: Instance, requested: Requested) -> Addresses:
    """Returns those that are asked for, else those of the installed units, else the first that nobody has."""
    default = units.addresses_of(instance) or _unused(instance)
    public, ops = (
        units.as_systemd_has_it(key, value) if value else otherwise
        for key, value, otherwise in (
            ("--bind", requested.bind, default.public),
            ("--ops-bind", requested.ops_bind, default.ops),
        )
    )
    if public == ops:
        raise RefusedError(f"--bind and --ops-bind are both {public}: give each an address of its own.")
    return Addresses(public, ops)


def _unused(instance: Instance) -> Addresses:
    if not instance.name:
        return Addresses()
    taken = {
        address
        for other in units.installed()
        for address in (units.addresses_of(other) or Addresses()).both()
    }
    return next(
        found
        for found in map(Addresses.after, range(1, 1000))
        if not taken & set(found.both()) and all(is_free(units.address(one)) for one in found.both())
    )


def _require(requested: Requested, changes: Changes) -> None:
    if os.geteuid() and not changes.is_dry:
        raise RefusedError("Installing belongs to root: run this with sudo.")
    if not Path("/run/systemd/system").is_dir():
        raise RefusedError("systemd does not run on this machine.")
    origin = Origin.of(requested.source, ref=requested.ref, package=requested.package)
    if not origin.is_url and not Path(origin.place).exists():
        raise RefusedError(f"{origin.place} is not there: name the folder or tarball of a project.")
    if requested.wheels is not None and not any(requested.wheels.glob("*.whl")):
        raise RefusedError(f"--wheels {requested.wheels}: there is no wheel in it.")


def _require_free(addresses: Addresses, before: Addresses | None) -> None:
    """Raises RefusedError where another program listens; sockets of these units are ours to move."""
    ours = set(before.both()) if before else set()
    for key, address in (("--bind", addresses.public), ("--ops-bind", addresses.ops)):
        if address.startswith("/") and not units.proxy_group():
            raise RefusedError(
                f"{key} unix:{address} is for nginx, and its group is not here: install it first."
            )
        if address not in ours and not is_free(units.address(address)):
            raise RefusedError(
                f"Something listens on {address} already: choose another address by {key} HOST:PORT."
            )


def _make_user_and_folders(instance: Instance, changes: Changes) -> None:
    changes.say(f"Making the user {instance.id}, {instance.root} and {instance.configuration}")
    path, text = units.account(instance)
    changes.write(path, text)
    changes.run("systemd-sysusers", path)
    changes.folder(instance.root, 0o755)
    changes.folder(instance.root / "releases", 0o755)
    # What is made in it, such as keys, is the service's to read.
    changes.folder(instance.configuration, 0o750, instance.id)
    changes.folder(instance.configuration / "credentials", 0o700)


def wanted_units(instance: Instance, requested: Requested) -> dict[Path, str]:
    """Returns the text of each unit and drop-in that is requested, by its path."""
    is_sealed = units.is_sealed(instance) if requested.sealed is None else requested.sealed
    addresses = choose_addresses(instance, requested)
    return units.render(instance, addresses, is_sealed=is_sealed, systemd=units.systemd_version())


def _install_units(instance: Instance, requested: Requested, changes: Changes) -> bool:
    """Returns whether what was installed before is changed by it."""
    changes.say("Installing the units")
    files = wanted_units(instance, requested)
    is_sealed = units.sealing(instance) in files
    if is_sealed and requested.sealed is None:
        changes.say("The service stays sealed, as it was: --open lets it reach a network")
    old = {path: path.read_text(encoding="utf-8") for path in files if path.exists()}
    for path, text in files.items():
        changes.write(path, text)
    opens = not is_sealed and units.sealing(instance).exists()
    if opens:
        changes.remove(units.sealing(instance))
    changes.run("systemctl", "daemon-reload")
    changes.sync()
    return opens or files != old


def _move_sockets(instance: Instance, changes: Changes) -> None:
    """Opens the new addresses of a service that runs: the release asks at the new one whether it serves."""
    changes.say("Moving to the new address; connections are refused until it is open")
    changes.run("systemctl", "stop", instance.service)
    changes.run("systemctl", "restart", *instance.sockets)
    changes.run("systemctl", "start", instance.service)


def _release(instance: Instance, requested: Requested, changes: Changes) -> None:
    """Runs the operator's command, which may be of another Python than this process."""
    changes.say("Making a release")
    command = [str(own_package.COMMAND), *(("--name", instance.name) if instance.name else ())]
    command += ["release", requested.source]
    for option, value in (
        ("--ref", requested.ref),
        ("--package", requested.package),
        ("--wheels", requested.wheels),
    ):
        command += [option, str(value)] if value else []
    if changes.is_dry:
        print(f"    {shlex.join(command)}")
    elif subprocess.run(command).returncode:
        raise RefusedError(
            f"{requested.source} is not released; the lines above say why. Then run this again."
        )
