"""Usage: python -m tests.vm.qemu.proof

Says whether the tests on emulated machines have passed for the code as it is. They take long, and prove what
few commits touch: that acknowledged data and releases outlive a power cut, and what the units limit. So
`make test-qemu` keeps in proof.json what the code and the tests were when all of them passed, and CI runs
them where that differs.

Exit: 0 the proof is of this code, 1 it is not: then the output are the arguments for `make test-qemu`.
"""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
KEPT = Path(__file__).with_name("proof.json")
SUBJECT = (
    "durable_database",
    "coachman/machine",
    "coachman/releases",
    "deploy/install.sh",
    "deploy/cloud-init.yaml",
    "systemd",
    "requirements.txt",
)
TESTS = ("tests/vm/qemu",)
# Tests of the tests: that a machine which does not wait for its disk is found out.
ONLY_FOR_NEW_TESTS = "negligence"


def digest(paths: Iterable[str]) -> str:
    """Of all files there that Git knows or would take, but for prose and the proof itself."""
    found = hashlib.sha256()
    for path in paths:
        if not (REPOSITORY / path).exists():
            raise SystemExit(
                f"{path} is not there: tests/vm/qemu/proof.py has to name what the proof is about"
            )
        for file in sorted(_files(path)):
            if file.suffix != ".md" and file != KEPT:
                found.update(f"{file.relative_to(REPOSITORY)}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest()


def _files(path: str) -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", path]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    names = {REPOSITORY / name for name in listed.stdout.split("\0") if name}
    return [file for file in names if file.is_file()]  # one that is deleted is known until the commit


def present() -> dict[str, str]:
    return {"subject": digest(SUBJECT), "tests": digest(TESTS)}


def kept() -> dict[str, object]:
    record: dict[str, object] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return record


def keep(digests: dict[str, str], passed: Iterable[str]) -> None:
    KEPT.write_text(json.dumps({**digests, "passed": sorted(passed)}, indent=2) + "\n")


def to_run() -> list[str] | None:
    """Pytest's arguments for what is not proven; None when all is."""
    now, before = present(), kept()
    if now["tests"] != before.get("tests"):
        return ["-m", "qemu"]
    if now["subject"] != before.get("subject"):
        return ["-m", f"qemu and not {ONLY_FOR_NEW_TESTS}"]
    return None


if __name__ == "__main__":
    arguments = to_run()
    if arguments is not None:
        print(shlex.join(arguments))
    sys.exit(arguments is not None)
