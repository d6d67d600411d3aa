"""The file of an application's settings on a machine: /etc/coachman/coachman.env, or that of a named one."""

import contextlib
import re
from collections.abc import Iterator

from coachman.machine.changes import Changes
from coachman.releases.instance import Instance

HEAD = """\
# Settings of the service; every one of them: docs/settings.md.
# A change comes in with: systemctl reload {id}
"""
_APP = re.compile(r"^COACHMAN_APP=.*$", re.MULTILINE)


@contextlib.contextmanager
def changed_settings(instance: Instance, app: str, changes: Changes) -> Iterator[None]:
    """Makes the file, or names `app` in the one that is there.

    When the body fails a file that was there before is put back.
    """
    path = instance.settings
    old = path.read_text(encoding="utf-8") if path.exists() else None
    new = with_app(HEAD.format(id=instance.id) if old is None else old, app)
    if new == old:
        changes.say(f"Keeping {path}")
        yield
        return
    changes.say(f"Writing {path}" if old is None else f"Setting COACHMAN_APP={app} in {path}")
    changes.write(path, new, 0o640, instance.id)
    try:
        yield
    except BaseException:
        if old is not None:
            changes.write(path, old, 0o640, instance.id)
        raise


def with_app(text: str, app: str) -> str:
    """Returns the settings with that application, in the place of the one that they named."""
    line = f"COACHMAN_APP={app}"
    if not app or line in text.splitlines():
        return text
    if _APP.search(text):
        return _APP.sub(lambda _: line, text)
    return f"{text.rstrip()}\n{line}\n"
