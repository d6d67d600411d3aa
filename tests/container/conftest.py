"""The image, built once a run from a base that is kept, and a PostgreSQL for what runs from it."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.container.engine import Engine
from tests.container.shop import Replica
from tests.support import wheelhouse
from tests.support.isolation import ALONE
from tests.support.postgresql import Server
from tests.support.service import REPOSITORY
from tests.support.wheelhouse import CACHE

RECIPE = Path(__file__).with_name("build_base.sh")
TOOLS = ("podman", "catatonit", "buildah", "mmdebstrap", "nginx")
BASE, IMAGE = "localhost/base:1", "localhost/coachman:1"
RUNTIMES = ("crun", "runc")  # the first of these that runs here: crun knows no cgroups of version 1
MakeReplica = Callable[[str], Replica]


@pytest.fixture(scope="session")
def base() -> Path:
    """A Debian 13 with Python, as a tar file."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"Containers need root and {', '.join(missing) or 'nothing else'}.")
    key = hashlib.sha256(RECIPE.read_bytes()).hexdigest()[:12]
    file = CACHE / f"base-{key}.tar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            draft = file.with_suffix(".draft")
            _run(*ALONE, RECIPE, "trixie", draft)
            draft.rename(file)
    return file


@pytest.fixture(scope="session")
def engine(base: Path) -> Iterator[Engine]:
    """One that has run a container; skips with the reason where none can."""
    reasons = []
    for runtime in RUNTIMES:
        if shutil.which(runtime) is None:
            continue
        with closing(Engine(Path(tempfile.mkdtemp(prefix="engine-")), runtime)) as engine:
            engine.podman("import", base, BASE)
            done = engine.try_podman("run", "--rm", "--network", "host", BASE, "true")
            if done.returncode == 0:
                yield engine
                return
            reasons.append(f"{runtime}: {done.stderr.strip()}")
    pytest.skip(f"Podman cannot run a container here: {'; '.join(reasons) or 'there is no crun and no runc'}")


@pytest.fixture(scope="session")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built as docs/beyond-one-vm.md says, from a copy of what the context needs."""
    context = tmp_path_factory.mktemp("context")
    for name in ("app", "deploy"):
        shutil.copytree(REPOSITORY / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.txt", ".containerignore"):
        shutil.copyfile(REPOSITORY / name, context / name)
    (context / "var").mkdir()
    (context / "var" / "keys").write_text("secret")
    wheelhouse.fill(context / "build" / "wheels", "3.13")
    engine.build(context, IMAGE, base=BASE)
    return IMAGE


@pytest.fixture(scope="module")
def database(engine: Engine, image: str, postgresql_server: Server) -> str:
    """Migrated by the image, as the Job does it."""
    url = postgresql_server.new_database()
    settings = ["--env", f"SHOP_DATABASE_URL={url}"]
    command = ["--read-only", "--network", "host", "--entrypoint", "python", image, "-m", "app", "migrate"]
    assert "migrated from nothing" in engine.podman("run", "--rm", *settings, *command)
    return url


@pytest.fixture
def make_replica(engine: Engine, image: str, database: str, tmp_path: Path) -> Iterator[MakeReplica]:
    made = []

    def make(name: str) -> Replica:
        replica = Replica(engine, tmp_path, name, image, database)
        made.append(replica)
        replica.start()
        replica.wait_ready()
        return replica

    yield make
    for replica in made:
        replica.remove()


def _run(*command: Path | str) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, (
        f"{command[0]}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    )
