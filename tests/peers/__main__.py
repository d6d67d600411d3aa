"""Uvicorn's own tests of its HTTP protocol, against ours: `make test-peers`. A new difference fails."""

import os
import re
import subprocess
import sys
import tarfile
import venv
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
LIMIT_SECONDS = 600
HTTP = "tests/protocols/test_http.py::test_"
A_PROBLEM_DOCUMENT = "what is malformed is answered with a problem document"
NO_WARNING = "an Upgrade that is not spoken is ignored without a line: a client could fill the log"
OUR_LIMIT = "a head has a limit of 32 KiB"

# The tests that fail, and why they must.
DIFFERENCES = {
    f"{HTTP}huge_headers_httptools": OUR_LIMIT,
    f"{HTTP}huge_headers_httptools_will_pass": OUR_LIMIT,
    f"{HTTP}invalid_http_request[httptools-invalid-http-version]": A_PROBLEM_DOCUMENT,
    f"{HTTP}invalid_http_request[httptools-invalid-method]": A_PROBLEM_DOCUMENT,
    f"{HTTP}invalid_http_request[httptools-invalid-path]": A_PROBLEM_DOCUMENT,
    f"{HTTP}header_upgrade_is_not_websocket_depend_installed[httptools]": NO_WARNING,
    f"{HTTP}header_upgrade_is_websocket_depend_not_installed[httptools]": NO_WARNING,
    f"{HTTP}unsupported_ws_upgrade_request_warn_on_auto[httptools]": NO_WARNING,
    f"{HTTP}keepalive_timeout_with_pipelined_requests[httptools]": "reads Uvicorn's private timer; ours is one for many requests",
    f"{HTTP}max_concurrency[httptools]": "limit_concurrency counts idle connections; COACHMAN_CONNECTIONS is in its place",
    f"{HTTP}message_after_body_complete[httptools]": "an exception behind a complete response leaves the connection open",
}  # fmt: skip


def prepare(folder: Path, uvicorn: str) -> Path:
    """The sources of the version that is installed, without the package itself."""
    sources = folder / f"uvicorn-{uvicorn}"
    if not sources.exists():
        folder.mkdir(parents=True, exist_ok=True)
        venv.create(folder / "venv", with_pip=True)
        pip = [str(folder / "venv/bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        call([*pip, "install", "hatchling"])
        options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", str(folder)]
        call([*pip, "download", *options, f"uvicorn=={uvicorn}"])
        with tarfile.open(folder / f"uvicorn-{uvicorn}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        # Would be imported in the place of the one that is installed.
        (sources / "uvicorn").rename(sources / "package")
    return sources


def call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stderr}")


def main() -> None:
    uvicorn = version("uvicorn")
    sources = prepare(REPOSITORY / "build" / "peers", uvicorn)
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "coachman_in_uvicorn", "-q", "-rf"]
    command += ["-p", "no:cacheprovider", "-k", "httptools", "tests/protocols/test_http.py"]
    paths = os.pathsep.join((str(HERE), str(REPOSITORY)))
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(
        command, cwd=sources, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    failed = set(re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE))
    print(f"Uvicorn {uvicorn}: {done.stdout.rstrip().rpartition(chr(10))[2]}")
    for test in sorted(failed & set(DIFFERENCES)):
        print(f"  {test.removeprefix(HTTP)}: {DIFFERENCES[test]}")
    if "passed" not in done.stdout or failed != set(DIFFERENCES):
        print(done.stdout[-20_000:], done.stderr[-2_000:])
        new, gone = sorted(failed - set(DIFFERENCES)), sorted(set(DIFFERENCES) - failed)
        raise SystemExit(f"New differences: {new}; differences that are no more: {gone}")


if __name__ == "__main__":
    main()
