"""COACHMAN_PRELOAD=auto: what the master has imported is shared with its workers, if they can share it.

A fork has no thread of its parent, and shares what is open: an HTTP client that was used at import would give
one worker the response that belongs to another. What an import makes is only known afterwards, so a master
that has found something starts again, as the same process, and leaves the import to its workers.
"""

import os
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any

from coachman.system import import_effects
from coachman.system.environment_names import MADE_AT_IMPORT
from coachman.system.import_effects import FOUND

_SEPARATOR = "; "


def start_again_if_needed(arbiter: Any, made: Sequence[str]) -> None:
    """Replaces this process by one that does not import the application, where an import has made something.

    `made` is what cannot be shared. Has to be called before the arbiter listens.
    """
    if not made:
        return
    environment = arbiter.cfg.env_orig  # that this process was started with
    environment[MADE_AT_IMPORT] = _SEPARATOR.join(made)
    if arbiter.pidfile is not None:
        arbiter.pidfile.unlink()  # `gunicorn --daemon` becomes another process once more
    import_effects.end_children()  # each worker will start them again
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606


def note_check(environment: MutableMapping[str, str], printed: str) -> None:
    """Passes what the check of the release found to the next master, so that it need not check again."""
    found = [line.removeprefix(FOUND) for line in printed.splitlines() if line.startswith(FOUND)]
    if found:
        environment[MADE_AT_IMPORT] = _SEPARATOR.join(found)


def made_at_import(environment: MutableMapping[str, str]) -> list[str]:
    """What the master before it started again has found, or the check of a release that takes over.

    Takes it out of the environment: the next master is to look for itself.
    """
    return [one for one in environment.pop(MADE_AT_IMPORT, "").split(_SEPARATOR) if one]
