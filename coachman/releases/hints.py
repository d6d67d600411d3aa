"""What the application's own error leaves out where a release is refused for it."""

import re

from coachman.releases import changes
from coachman.releases.instance import Instance
from coachman.releases.layout import Release
from coachman.system import project_file

_DENIED = re.compile(r"(?:Read-only file system|Permission denied): '([^']+)'")
_NO_DATABASE = ("unable to open database file", "attempt to write a readonly database")  # SQLite's words
_NOT_THERE = ("there is no module", "has no application named", "there is no file")
_APP = "COACHMAN_APP"


def explained(reason: str, release: Release, instance: Instance) -> str:
    """Returns the `reason` that a release is refused for, and what a release has to do with it."""
    return "\n".join([reason, *_of_writing(reason, release, instance), *_of_name(reason, release, instance)])


def _of_writing(reason: str, release: Release, instance: Instance) -> list[str]:
    paths = _DENIED.findall(reason)
    places = (str(release.folder), f"{instance.root}/current")
    is_inside = any(not path.startswith("/") or path.startswith(places) for path in paths)
    if not is_inside and not any(words in reason for words in _NO_DATABASE):
        return []
    return [f"A release is read-only: write to $STATE_DIRECTORY, which is {instance.state}."]


def _of_name(reason: str, release: Release, instance: Instance) -> list[str]:
    """The machine's name of the application may be that of another release's module."""
    is_not_there = any(words in reason for words in _NOT_THERE)
    if not is_not_there or _APP not in changes.names_in(instance.settings):
        return []
    try:
        own = project_file.table(release.folder).get("app")
    except ValueError:
        own = None
    if own:
        wins = f"{_APP} in {instance.settings} wins over app = {own!r} in {project_file.NAME}"
        return [f"{wins}: remove it there, and each release names its own."]
    return [
        f"{_APP} in {instance.settings} holds for all releases. Where they differ, remove it there and put"
        f" `app` under [tool.coachman] in {project_file.NAME}, which moves with the release."
    ]
