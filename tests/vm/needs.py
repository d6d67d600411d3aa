"""An application that does what applications do: each path tries one thing and answers how it went."""

import ctypes
import mmap
import os
import smtplib
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

from fastapi import FastAPI

app = FastAPI()
PEER = "192.0.2.2"
SECONDS = 60  # for what hangs; where there is no network, the kernel says so at once
sys.path.append("/opt/needs")  # packages that the release does not have: see test_needs.py

# Of 58 bytes: y = -x.
MODEL = bytes.fromhex(
    "08084202100d3a320a0b0a017812017922034e65671201675a0f0a0178120a0a08080112040a0208"
    "02620f0a0179120a0a08080112040a020802"
)


def http_by_name() -> None:
    """Looks a name up at a DNS server on the network, and asks the host of that name."""
    httpx = import_module("httpx")

    assert httpx.get("http://peer.test/", timeout=SECONDS).status_code == 200


def smtp() -> None:
    with smtplib.SMTP(PEER, 25, timeout=SECONDS) as server:
        server.noop()


def redis() -> None:
    with import_module("redis").Redis(PEER, protocol=2, socket_timeout=SECONDS) as client:
        assert client.ping()


def postgresql() -> None:
    psycopg = import_module("psycopg")

    with psycopg.connect(os.environ["POSTGRESQL"], connect_timeout=SECONDS) as connection:
        assert connection.execute("SELECT 6 * 7").fetchone() == (42,)


def interfaces() -> None:
    """What psutil.net_if_addrs and others ask the kernel."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW):
        pass


def program() -> None:
    assert (
        subprocess.run(["/bin/sh", "-c", "echo hi"], capture_output=True, timeout=SECONDS).stdout == b"hi\n"
    )


def process_pool() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        assert pool.submit(abs, -1).result(SECONDS) == 1


def upload() -> None:
    """What FastAPI's UploadFile does with a large file."""
    with tempfile.SpooledTemporaryFile(max_size=1) as file:
        file.write(bytes(2_000_000))


def state() -> None:
    (Path(os.environ["STATE_DIRECTORY"]) / "needs").write_text("kept")


def home() -> None:
    """Where libraries keep their caches."""
    (Path.home() / ".cache").mkdir(exist_ok=True)


def release_folder() -> None:
    Path("needs.log").write_text("x")


def elsewhere() -> None:
    Path("/srv/needs/file").write_text("x")


def memory() -> None:
    assert "MemAvailable" in Path("/proc/meminfo").read_text()


def callback() -> None:
    """ctypes makes a piece of code for it."""
    assert ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)() == 7


def machine_code() -> None:
    """What a JIT does: memory that is written to and then run."""
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def jit() -> None:
    """Compiles a function with LLVM."""
    numba = import_module("numba")

    assert numba.njit(lambda number: number + 1)(6) == 7


def model() -> None:
    """Infers with onnxruntime, whose threads want a CPU each."""
    numpy, onnxruntime = import_module("numpy"), import_module("onnxruntime")

    [answer] = onnxruntime.InferenceSession(MODEL).run(None, {"x": numpy.array([1, -2], numpy.float32)})
    assert answer.tolist() == [-1, 2]


NEEDS = {
    need.__name__: need
    for need in (
        *(http_by_name, smtp, redis, postgresql, interfaces, program, process_pool, upload),
        *(state, home, release_folder, elsewhere, memory, callback, machine_code, jit, model),
    )
}


@app.get("/needs")
def needs() -> dict[str, str]:
    """Answers each need's "ok" or the error that it ended in."""
    outcomes = {}
    for name, need in NEEDS.items():
        try:
            need()
            outcomes[name] = "ok"
        except Exception as error:  # noqa: BLE001 - which one is the answer
            outcomes[name] = repr(error)
    return outcomes
