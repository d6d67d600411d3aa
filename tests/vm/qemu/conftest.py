"""The disks that these machines start from. They are made once, and kept."""

import fcntl
import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.isolation import ALONE
from tests.vm.conftest import CACHE, need
from tests.vm.machine import Machine
from tests.vm.qemu.vm import READY, VM, Image

RECIPE = Path(__file__).with_name("build_vm.sh")
TOOLS = ("qemu-system-x86_64", "mke2fs", "ssh", "ssh-keygen")
DISK_SIZE = "4G"


@pytest.fixture(scope="session", autouse=True)
def _emulated_machines_can_run() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    sentence = (
        f"Emulated machines need {', '.join(missing)}: install qemu-system-x86, e2fsprogs, openssh-client."
    )
    need(met=not missing, sentence=sentence)


@pytest.fixture(scope="session")
def unpacked() -> Path:
    """A Debian 12 with a kernel: root/ and what QEMU boots it with. Never written to."""
    key = hashlib.sha256(RECIPE.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"vm-bookworm-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            draft = CACHE / "vm-bookworm.draft"
            shutil.rmtree(draft, ignore_errors=True)
            _run(*ALONE, RECIPE, "bookworm", draft, seconds=900)
            draft.rename(folder)
    return folder


@pytest.fixture(scope="session")
def fresh(unpacked: Path, _disks: Path) -> Image:
    """A checkout and the wheels are in /root; nothing is installed yet."""
    return Image(unpacked, _disks / "fresh.img")


@pytest.fixture(scope="session")
def installed(unpacked: Path, _disks: Path) -> Image:
    """install.sh and a second release have run, and the machine was shut down."""
    return Image(unpacked, _disks / "installed.img")


@pytest.fixture(scope="session")
def ready(installed: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """That machine while it serves: who starts from here need not boot."""
    folder = tmp_path_factory.mktemp("ready")
    with VM(installed, tmp_path_factory.mktemp("saved")) as vm:
        vm.wait(READY)
        image = vm.save(folder)
    yield image
    shutil.rmtree(folder)  # tests keep their folders, and memory is large


@pytest.fixture(scope="session")
def _disks(
    unpacked: Path, checkout: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Kept until the checkout changes, which says what the wheels are, too."""
    folder = CACHE / f"vm-disks-{_digest(RECIPE, checkout)}"
    if not folder.exists():
        for outdated in CACHE.glob("vm-disks-*"):
            shutil.rmtree(outdated)
        draft = CACHE / "vm-disks-draft"
        draft.mkdir()
        layers = [
            _fresh_layer(checkout, request.getfixturevalue("wheels"), tmp_path_factory),
            unpacked / "root",
        ]
        _make_disk(layers, draft / "fresh.img")
        # In a container: what takes an emulated processor minutes takes seconds there.
        with Machine(layers, tmp_path_factory.mktemp("installing"), "coachman-installing") as machine:
            machine.run("/root/checkout/deploy/install.sh --wheels /root/wheels", seconds=600)
            machine.run("coachman release /root/checkout --wheels /root/wheels", seconds=600)
        _make_disk([machine.disk, *layers], draft / "installed.img")
        draft.rename(folder)
    return folder


def _digest(*paths: Path) -> str:
    """Of what may make a difference: prose does not."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and file.suffix != ".md":
                digest.update(f"{file.relative_to(path)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _fresh_layer(checkout: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layer = tmp_path_factory.mktemp("fresh")
    shutil.copytree(checkout, layer / "root" / "checkout")
    shutil.copytree(wheels, layer / "root" / "wheels")
    (layer / "root").chmod(0o700)  # as sshd wants it
    return layer


def _make_disk(layers: list[Path], disk: Path) -> None:
    """All in mounts that nobody has to undo."""
    overlay = f"lowerdir={':'.join(map(str, layers))}"
    options = "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    steps = f"""
        mount -t overlay overlay -o {shlex.quote(overlay)} /mnt
        mke2fs -q -t ext4 -E {options} -d /mnt {disk} {DISK_SIZE}
    """
    _run("unshare", "--mount", "--propagation", "private", "sh", "-ec", steps, seconds=300)


def _run(*command: Path | str, seconds: float) -> None:
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds
    )
    assert done.returncode == 0, f"{command[0]}: exit code {done.returncode}\n{done.stdout[-3000:]}"
