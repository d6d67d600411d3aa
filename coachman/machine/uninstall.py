"""What `coachman uninstall` does: takes an application off this machine."""

import os
from pathlib import Path

from coachman.machine import own_package, units
from coachman.machine.changes import Changes
from coachman.releases.command import RefusedError
from coachman.releases.instance import Instance
from coachman.releases.layout import Layout


def uninstall(instance: Instance, changes: Changes, *, with_data: bool) -> None:
    """Removes the units and the releases, with `with_data` also settings, data and the user.

    Raises RefusedError when this user may not, or when nothing of it is there.
    """
    if os.geteuid() and not changes.is_dry:
        raise RefusedError("Uninstalling belongs to root: run this with sudo.")
    data = (instance.configuration, instance.state, units.account(instance)[0])
    if not any(
        path.exists() for path in (Layout.of(instance).releases, units.UNITS / instance.service, *data)
    ):
        raise RefusedError(
            f"There is nothing of {instance.id} on this machine: `coachman list` names what is."
        )
    _stop(instance, changes)
    changes.say("Removing units and releases")
    for path in _units_and_releases(instance):
        changes.remove(path)
    changes.run("systemctl", "daemon-reload")
    if with_data:
        changes.say("Removing settings, data and the user")
        for path in data:
            changes.remove(path)
        changes.attempt("userdel", instance.id)  # gone already, in a second try
    if not units.installed():
        changes.say("Removing the command coachman")
        changes.remove(own_package.ENVIRONMENT.parent)
        changes.remove(own_package.COMMAND)


def _stop(instance: Instance, changes: Changes) -> None:
    changes.say(f"Stopping {instance.id}")
    names = (*instance.sockets, instance.service)
    there = [name for name in names if (units.UNITS / name).exists()]
    if there:
        changes.run("systemctl", "--quiet", "disable", "--now", *there)
        changes.attempt("systemctl", "reset-failed", *there)  # none may have failed


def _units_and_releases(instance: Instance) -> list[Path]:
    """The environment of the operator's command lies with the unnamed application, and is not its own."""
    found = [units.UNITS / unit for unit in (instance.service, *instance.sockets)]
    found += [
        folder / f"{unit}.d"
        for folder in (units.UNITS, units.SET_PROPERTIES)
        for unit in (instance.service, *instance.sockets)
    ]
    if instance.root.is_dir():
        found += [path for path in instance.root.iterdir() if path != own_package.ENVIRONMENT]
    return found if instance.root == own_package.ENVIRONMENT.parent else [*found, instance.root]
