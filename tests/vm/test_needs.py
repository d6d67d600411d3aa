"""The table "your application needs" of docs/deploy.md: the unit as it ships, sealed, and with drop-ins."""

import contextlib
import fcntl
import json
import os
import platform
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.package import UV
from tests.support.postgresql import PASSWORD, USER, Server, find_programs
from tests.vm.conftest import CACHE, need
from tests.vm.machine import LIMIT_SECONDS, Machine
from tests.vm.shop import RELEASES, Shop

HERE = Path(__file__).parent
DROP_INS = "/run/systemd/system/coachman.service.d"
# A network with another host on it.
NETWORK = """
ip netns add peer
ip link add net0 type veth peer name net1 netns peer
ip address add 192.0.2.1/24 dev net0 && ip link set net0 up
ip -n peer address add 192.0.2.2/24 dev net1 && ip -n peer link set net1 up
(echo nameserver 192.0.2.2 && echo options timeout:30) >/etc/resolv.conf
"""
OVER_THE_NETWORK = {"http_by_name", "smtp", "redis", "postgresql"}
# What the machine's releases do not have.
PACKAGES = ("httpx==0.28.1", "numba==0.68.1", "onnxruntime==1.32.0", "redis==8.1.0")
WITH_A_DROP_IN = {
    "interfaces": "RestrictAddressFamilies=AF_NETLINK",
    "elsewhere": "ReadWritePaths=/srv/needs",
    "machine_code": "MemoryDenyWriteExecute=no",
    "jit": "MemoryDenyWriteExecute=no",
}
# The table's last column.
SAID = {
    "release_folder": "Read-only file system",
    "elsewhere": "Read-only file system",
    "jit": "cannot allocate executable memory",
    "interfaces": "Address family not supported by protocol",
}


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder of packages for the machine's Python. Kept, and never written to again."""
    folder = CACHE / "-".join(["needs", *(one.replace("==", "-") for one in PACKAGES)])
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            draft = CACHE / "needs.draft"
            target = ["--target", str(draft), "--python-version", "3.11", "--only-binary", ":all:"]
            target += ["--python-platform", f"{platform.machine()}-manylinux_2_28"]
            environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
            command = [str(UV), "pip", "install", "--quiet", *target, *PACKAGES]
            subprocess.run(command, check=True, timeout=1800, env=environment)
            draft.rename(folder)
    return folder


@contextlib.contextmanager
def postgresql(machine: Machine) -> Iterator[str]:
    """A server on the other host, and its URL."""
    programs = find_programs()
    need(met=programs is not None, sentence="PostgreSQL over TCP needs a server: install postgresql.")
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Server(programs, folder)
        server.create()
        with (server.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 192.0.2.0/24 scram-sha-256\n")
        place = [f"--net=/proc/{machine.leader}/root/run/netns/peer"]
        user = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        options = ["-clisten_addresses=192.0.2.2", "-cport=5432", f"-cunix_socket_directories={folder}"]
        process = subprocess.Popen(
            ["nsenter", *place, "setpriv", *user, programs / "postgres", "-D", server.data, *options],
            cwd=folder,
        )
        try:
            _wait_for(process, f"host={folder} user={USER} password={PASSWORD} dbname=postgres")
            yield f"postgresql://{USER}:{PASSWORD}@192.0.2.2/postgres?sslmode=disable"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(LIMIT_SECONDS)


def _wait_for(process: "subprocess.Popen[bytes]", address: str) -> None:
    """By its socket in the file system, which is in no network."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            psycopg.connect(address, connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, "PostgreSQL has ended"
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def shop(machine: Machine, packages: Path) -> Iterator[Shop]:
    shop = Shop(machine)
    shop.settle()
    for name in ("needs.py", "peer.py"):
        machine.write(f"{RELEASES}/1/{name}", (HERE / name).read_text())
    machine.run(NETWORK)
    machine.run("install -d -o coachman /srv/needs")
    machine.run(f"systemd-run --quiet ip netns exec peer python3 {RELEASES}/1/peer.py")
    machine.wait("curl -s http://192.0.2.2/")
    machine.put(packages, "/opt")
    machine.run(f"mv /opt/{packages.name} /opt/needs")
    with postgresql(machine) as url:
        shop.configure(COACHMAN_APP="needs:app", COACHMAN_WORKERS="1", POSTGRESQL=url)
        yield shop


def unmet(shop: Shop, drop_in: str) -> dict[str, str]:
    """What the application cannot do with that drop-in, and the error in which it ends."""
    shop.machine.run(f"rm -rf {DROP_INS}")
    shop.machine.write(f"{DROP_INS}/00-test.conf", f"[Service]\n{drop_in}\n")
    shop.machine.run("systemctl daemon-reload && systemctl restart coachman")
    outcomes = json.loads(shop.machine.run("curl -sSf http://127.0.0.1:8000/needs"))
    return {need: outcome for need, outcome in outcomes.items() if outcome != "ok"}


def test_the_unit_as_it_ships_lets_applications_do_what_they_do(shop: Shop) -> None:
    found = unmet(shop, "")

    assert set(found) == {"release_folder", *WITH_A_DROP_IN}, found
    for name, words in SAID.items():
        assert words in found[name], found


def test_a_line_in_a_drop_in_allows_what_few_applications_need(shop: Shop) -> None:
    found = unmet(shop, "\n".join({*WITH_A_DROP_IN.values()}))

    assert set(found) == {"release_folder"}, found


def test_a_sealed_service_reaches_nobody(shop: Shop) -> None:
    sealed = (HERE.parents[1] / "systemd" / "drop-ins" / "00-sealed.conf").read_text()
    found = unmet(shop, sealed)

    assert set(found) == {"release_folder", "memory", *OVER_THE_NETWORK, *WITH_A_DROP_IN}, found
