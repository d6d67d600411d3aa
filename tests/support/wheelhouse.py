"""A folder of wheels to install Coachman from. What others publish is downloaded once for each lock."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.package import REPOSITORY, build_wheel

CACHE = Path(os.environ.get("COACHMAN_TEST_CACHE", Path.home() / ".cache" / "coachman-tests"))
RECIPE = REPOSITORY / "scripts" / "wheelhouse"
DOWNLOAD_SECONDS = 1800


def fill(folder: Path, *pythons: str) -> None:
    """Makes the folder as `scripts/wheelhouse` does: Coachman as it is now, and all packages of its lock."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copytree(_kept(pythons), folder, ignore=shutil.ignore_patterns("coachman-*.whl"))
    build_wheel(folder)


def _kept(pythons: tuple[str, ...]) -> Path:
    lock = (REPOSITORY / "requirements.txt").read_bytes()
    key = hashlib.sha256(RECIPE.read_bytes() + lock + " ".join(pythons).encode()).hexdigest()[:12]
    kept, draft = CACHE / f"wheels-{key}", CACHE / "wheels.draft"
    if not kept.exists():
        shutil.rmtree(draft, ignore_errors=True)
        done = subprocess.run(
            [str(RECIPE), str(draft), *pythons],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DOWNLOAD_SECONDS,
        )
        assert done.returncode == 0, f"{RECIPE}: exit code {done.returncode}\n{done.stdout[-3000:]}"
        draft.rename(kept)
    return kept
