"""A folder of wheels to install Coachman from. What others publish is downloaded once for each lock."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.package import REPOSITORY, build_wheel

CACHE = Path(os.environ.get("COACHMAN_TEST_CACHE", Path.home() / ".cache" / "coachman-tests"))
DOWNLOAD_SECONDS = 1800


def fill(folder: Path, *pythons: str) -> None:
    """Makes the folder as `scripts/wheelhouse` does: Coachman as it is now, and all packages of its lock."""
    fill_by_lock(folder, REPOSITORY, *pythons)
    build_wheel(folder)


def fill_by_lock(folder: Path, checkout: Path, *pythons: str) -> None:
    """Makes the folder with all packages of the lock of a checkout, which has a scripts/wheelhouse, too."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copytree(_kept(checkout, pythons), folder, ignore=shutil.ignore_patterns("coachman-*.whl"))


def _kept(checkout: Path, pythons: tuple[str, ...]) -> Path:
    recipe = checkout / "scripts" / "wheelhouse"
    lock = (checkout / "requirements.txt").read_bytes()
    key = hashlib.sha256(recipe.read_bytes() + lock + " ".join(pythons).encode()).hexdigest()[:12]
    kept, draft = CACHE / f"wheels-{key}", CACHE / "wheels.draft"
    if not kept.exists():
        shutil.rmtree(draft, ignore_errors=True)
        environment = checkout / ".venv"  # whose pip it uses
        is_lent = not environment.exists()
        if is_lent:
            environment.symlink_to(sys.prefix)
        done = subprocess.run(
            [str(recipe), str(draft), *pythons],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DOWNLOAD_SECONDS,
        )
        if is_lent:
            environment.unlink()
        assert done.returncode == 0, f"{recipe}: exit code {done.returncode}\n{done.stdout[-3000:]}"
        draft.rename(kept)
    return kept
