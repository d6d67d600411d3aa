"""What git knows of a project: what it ignores, and which commit it is at."""

import os
import shutil
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

from coachman.releases.command import RefusedError, last_lines, run

_SECONDS = 60
_FETCH_SECONDS = 600
# The operator is root, and the checkout mostly somebody else's: root runs nothing that it names.
_SAFELY = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_QUIETLY = {  # nobody is there to type a password
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "https:ssh:file",
    "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
}
_IGNORED = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")


def ignored(project: Path) -> list[str] | None:
    """Returns the files and folders in `project` that git ignores; None where there is no git to say so.

    A project that is no checkout, such as an unpacked tarball, is taken for one with nothing committed.
    """
    if shutil.which("git") is None:
        return None if any(project.rglob(".gitignore")) else []
    if _git(project, "rev-parse", "--is-inside-work-tree").returncode == 0:
        listed = _git(project, *_IGNORED)
    else:
        with tempfile.TemporaryDirectory() as empty:
            _git(project, "init", "--quiet", "--bare", empty)
            listed = _git(project, f"--git-dir={empty}", f"--work-tree={project}", *_IGNORED)
    # All of it where another project's checkout, which this folder lies in, ignores the folder.
    is_of_another = listed.returncode or listed.stdout.startswith("./\0")
    return [] if is_of_another else [path.rstrip("/") for path in listed.stdout.split("\0") if path]


def commit(project: Path) -> str:
    """Returns the commit that a checkout is at, "+changes" behind it where files differ; else nothing."""
    if shutil.which("git") is None:
        return ""
    head = _git(project, "rev-parse", "--short=12", "HEAD")
    if head.returncode:
        return ""
    # Runs the filters that the checkout's own configuration names, so not as root.
    looked = _git(project, "status", "--porcelain", "--ignore-submodules=all", "--", ".", as_owner=True)
    if looked.returncode:
        return f"{head.stdout.strip()}, changes unknown"
    return f"{head.stdout.strip()}{'+changes' if looked.stdout.strip() else ''}"


def fetch(url: str, ref: str, folder: Path) -> str:
    """Fetches a tag, a branch or a commit of a repository into an empty folder, and returns the commit.

    Raises RefusedError with what git says.
    """
    wanted = ref or "HEAD"
    _require(folder, "init", "--quiet")
    _require(folder, "remote", "add", "origin", "--", url)
    # Of a checkout on this machine, which may be anybody's: git asks its owner about that, too.
    serve = ["--upload-pack=git -c safe.directory=* upload-pack"] if url.startswith("file://") else []
    _require(folder, "fetch", "--quiet", "--depth=1", *serve, "origin", "--end-of-options", wanted)
    _require(folder, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    if (folder / ".gitmodules").exists():
        _require(folder, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    return commit(folder)


def unpack(project: Path, ref: str, folder: Path) -> tuple[Path, str]:
    """Fetches what a checkout has committed as `ref` into an empty folder; the checkout's files may differ.

    Returns where the project is in it, which may be a folder of the checkout, and the commit.
    """
    found = _git(project, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    if found.returncode:
        raise RefusedError(f"{project} has no tag, branch or commit {ref}: {last_lines(found.stdout, 1)}")
    top = _git(project, "rev-parse", "--show-toplevel").stdout.strip()
    named = fetch(f"file://{top}", found.stdout.strip(), folder)
    return folder / project.resolve().relative_to(Path(top).resolve()), named


def _require(folder: Path, *arguments: str) -> None:
    done = _git(folder, *arguments, seconds=_FETCH_SECONDS)
    if done.returncode:
        raise RefusedError(f"git cannot {arguments[0]} it: {last_lines(done.stdout, 3)}")


def _git(
    folder: Path, *arguments: str, seconds: float = _SECONDS, as_owner: bool = False
) -> "CompletedProcess[str]":
    owner = folder.stat()
    prefix: list[str] = []
    environment = os.environ | _QUIETLY
    if as_owner and os.geteuid() == 0 and owner.st_uid != 0:
        prefix = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups", "--"]
        environment["HOME"] = "/"  # root's is not for others to read
    return run(*prefix, "git", *_SAFELY, *arguments, seconds=seconds, folder=folder, environment=environment)
