"""The images of the stack as files, made once for each state of the code and kept."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.container.engine import Engine
from tests.support.isolation import ALONE
from tests.support.service import REPOSITORY

CACHE = Path(os.environ.get("COACHMAN_TEST_CACHE", Path.home() / ".cache" / "coachman-tests"))
BASE, SHOP = "localhost/base:1", "registry.example/coachman:1"
HERE = Path(__file__).parent
BASE_RECIPE = HERE.parent / "container" / "build_base.sh"
SUPPORT_RECIPE = HERE / "build_support.sh"
KEPT = 2  # of the shop's image, which each change of the code makes anew


class Images(NamedTuple):
    shop: Path  # for `docker load`
    support: Path  # for `docker import`: nginx and PostgreSQL


def prepare() -> Images:
    """Makes what is not there yet. As root; needs mmdebstrap, buildah and podman."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        base = (
            CACHE / f"base-{hashlib.sha256(BASE_RECIPE.read_bytes()).hexdigest()[:12]}.tar"
        )  # tests/container's, too
        support = CACHE / f"support-{_digest([SUPPORT_RECIPE, HERE / 'postgres.sh'])}.tar"
        for recipe, file in ((BASE_RECIPE, base), (SUPPORT_RECIPE, support)):
            if not file.exists():
                draft = file.with_suffix(".draft")
                _run(*ALONE, str(recipe), "trixie", str(draft))
                draft.rename(file)
        shop = CACHE / f"shop-{_digest(_sources())}.tar"
        if not shop.exists():
            _build(base, shop)
            for old in sorted(CACHE.glob("shop-*.tar"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
                old.unlink()
    return Images(shop, support)


def _sources() -> list[Path]:
    folders = [REPOSITORY / name for name in ("app", "coachman", "durable_database", "deploy/container")]
    # What an export writes is not what serves: a change of it needs no other image.
    left_out = {"__pycache__", "export"}
    files = [path for folder in folders for path in folder.rglob("*") if not left_out & set(path.parts)]
    return [
        *(path for path in files if path.is_file()),
        REPOSITORY / "requirements.txt",
        REPOSITORY / "pyproject.toml",
        BASE_RECIPE,
    ]


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _build(base: Path, file: Path) -> None:
    """Builds the image as docs/beyond-one-vm.md says, in a storage that goes with it."""
    with tempfile.TemporaryDirectory(prefix="context-") as name:
        context = Path(name)
        for folder in ("app", "deploy"):
            shutil.copytree(
                REPOSITORY / folder, context / folder, ignore=shutil.ignore_patterns("__pycache__")
            )
        for one in ("requirements.txt", ".containerignore"):
            shutil.copyfile(REPOSITORY / one, context / one)
        _run(str(REPOSITORY / "scripts" / "wheelhouse"), str(CACHE / "wheels"), "3.13")
        shutil.copytree(CACHE / "wheels", context / "build" / "wheels")
        with closing(Engine(Path(tempfile.mkdtemp(prefix="engine-")), "runc")) as engine:
            engine.podman("import", base, BASE)
            engine.build(context, SHOP, base=BASE)
            draft = file.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            engine.podman("save", "--output", draft, SHOP)
            draft.rename(file)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=2400, check=False)
    assert done.returncode == 0, (
        f"{command[0]}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    )


if __name__ == "__main__":
    print(*prepare(), sep="\n")
