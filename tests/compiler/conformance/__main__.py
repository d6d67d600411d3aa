"""Runs FastAPI's own tests with every application compiled: `make test-compiler`.

The sdist of FastAPI ships its tests. They must pass as they do without the compiler, and enough of their
requests must have been answered by compiled functions. Exits with 1 if not.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
BUILD = REPOSITORY / "build" / "fastapi-suite"
EXPECTED = HERE / "expected.json"
LIMIT_SECONDS = 3600


def main() -> None:
    parser = argparse.ArgumentParser(prog="make test-compiler", description=__doc__)
    parser.add_argument("--version", default=locked("fastapi"), help="of FastAPI; the locked one by default")
    parser.add_argument("--stock", action="store_true", help="run the tests without the compiler")
    parser.add_argument("--learn", action="store_true", help="add the fingerprints of what is installed here")
    parser.add_argument(
        "tests", nargs="*", default=["tests"], help="a part of the suite, such as tests/test_sse.py"
    )
    arguments = parser.parse_args()
    if arguments.learn:
        learn()
        return
    suite = prepare(arguments.version)
    passed = run(suite, arguments.tests, is_stock=arguments.stock)
    if arguments.stock:
        return
    compiled = count(suite / "counts")
    if arguments.tests == ["tests"]:
        compare(arguments.version, passed, compiled)


def locked(package: str) -> str:
    """The version of a package in the lock file."""
    found = re.search(rf"^{package}==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert found, f"requirements.txt does not lock {package}"
    return found[1]


def learn() -> None:
    """Adds the fingerprints of the functions in this environment."""
    from coachman.compiler import known

    known.write()
    print(f"{known.FINGERPRINTS.relative_to(REPOSITORY)} is written; see what has changed, and commit it.")


def prepare(version: str) -> Path:
    """Unpacks the tests of a version and makes an environment for them, unless they are there."""
    suite = BUILD / version
    done = suite / "prepared"
    wanted = (HERE / "requirements.txt").read_text()
    if done.exists() and done.read_text() == wanted:
        return suite
    shutil.rmtree(suite, ignore_errors=True)
    suite.mkdir(parents=True)
    print(f"Preparing the tests of FastAPI {version} in {suite.relative_to(REPOSITORY)}...", flush=True)
    venv.create(suite / "venv", with_pip=True)
    pip = [str(suite / "venv/bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pins = [f"fastapi=={version}"]
    if version == locked("fastapi"):
        pins += [f"{package}=={locked(package)}" for package in ("starlette", "pydantic")]
    call([*pip, "install", "-r", str(HERE / "requirements.txt"), *pins])
    source = ["download", "--no-deps", "--no-binary", ":all:", "--dest", str(suite)]
    call([*pip, *source, f"fastapi=={version}"])
    with tarfile.open(suite / f"fastapi-{version}.tar.gz") as archive:
        archive.extractall(suite, filter="data")
    # Its own package would be imported in the place of the one that is installed.
    (suite / f"fastapi-{version}").rename(suite / "source")
    (suite / "source" / "fastapi").rename(suite / "source" / "package")
    done.write_text(wanted)
    return suite


def run(suite: Path, tests: list[str], *, is_stock: bool) -> int:
    """Runs the tests; returns how many passed. Ends the program if one has failed."""
    shutil.rmtree(suite / "counts", ignore_errors=True)
    (suite / "counts").mkdir()
    command = [str(suite / "venv/bin/python"), "-P", "-m", "pytest", *tests, "-q", "-o", "addopts="]
    command += ["-n", os.environ.get("COACHMAN_SUITE_PROCESSES", "2"), "--dist", "loadgroup"]
    command += ["-p", "no:cacheprovider", "-o", "timeout=300"]  # 20 s are not enough beside other work
    paths = [str(suite / "source" / "docs_src")]
    if not is_stock:
        command += ["-p", "plugin"]
        paths.append(str(HERE))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "COACHMAN_PACKAGE": str(REPOSITORY / "coachman"),
        "COACHMAN_COUNTS": str(suite / "counts"),
    }
    log = suite / "tests.log"
    with log.open("w") as output:
        code = subprocess.run(
            command,
            cwd=suite / "source",
            env=environment,
            stdout=output,
            stderr=output,
            timeout=LIMIT_SECONDS,
        ).returncode
    summary = log.read_text().rstrip().rpartition("\n")[2]
    print(summary)
    if code:
        print(
            "\n".join(line for line in log.read_text().splitlines() if line.startswith(("FAILED", "ERROR")))
        )
        raise SystemExit(f"FastAPI's own tests failed; {log.relative_to(REPOSITORY)} has all of it.")
    found = re.search(r"(\d+) passed", summary)
    return int(found[1]) if found else 0


def count(folder: Path) -> int:
    """Sums up what the processes have counted, and prints it; returns the number of compiled requests."""
    requests: Counter[str] = Counter()
    routes: Counter[str] = Counter()
    for path in folder.iterdir():
        counts = json.loads(path.read_text())
        requests.update(compiled=counts["compiled"], left=counts["left"])
        routes.update(counts["routes"])
    compiled = routes.pop("", 0)
    print(f"{compiled:,} routes compiled, {routes.total():,} left to FastAPI:")
    for reason, number in routes.most_common(12):
        print(f"  {number:6,}  {reason[:120]}")
    print(f"{requests['compiled']:,} requests compiled, {requests['left']:,} answered by FastAPI")
    return requests["compiled"]


def compare(version: str, passed: int, compiled: int) -> None:
    """Ends the program if less is true than of the last time."""
    expected = json.loads(EXPECTED.read_text()).get(version)
    if expected is None:
        raise SystemExit(f"{EXPECTED.relative_to(REPOSITORY)} has no line for FastAPI {version}: add one.")
    if passed < expected["passed"]:
        raise SystemExit(f"{passed} tests passed, and {expected['passed']} do without the compiler.")
    if compiled < expected["compiled_requests"]:
        raise SystemExit(
            f"{compiled} requests were compiled, and {expected['compiled_requests']} were before."
        )


def call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
