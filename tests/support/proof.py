"""Usage: python -m tests.support.proof FOLDER

Says whether the tests of a folder have passed for the code as it is. Some take long and prove what few
commits touch: that acknowledged data and releases outlive a power cut, what the units limit, that the stack
serves on a Swarm while its nodes come and go. So their `make` targets keep in FOLDER/proof.json what the code
and the tests were when all of them passed, and CI runs them where that differs.

Exit: 0 the proof is of this code, 1 it is not: then the output are the arguments for the `make` target.
"""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# Tests of the tests: that a machine which does not wait for its disk is found out.
ONLY_FOR_NEW_TESTS = "negligence"


@dataclass(frozen=True)
class Proof:
    """What the tests of a folder prove, and where it is kept that they have passed."""

    folder: str
    subject: tuple[str, ...]  # files and folders of the code

    @property
    def file(self) -> Path:
        return REPOSITORY / self.folder / "proof.json"

    def present(self) -> dict[str, str]:
        return {"subject": digest(self.subject), "tests": digest([self.folder])}

    def kept(self) -> dict[str, object]:
        record: dict[str, object] = json.loads(self.file.read_text()) if self.file.exists() else {}
        return record

    def keep(self, digests: dict[str, str], passed: Iterable[str]) -> None:
        self.file.write_text(json.dumps({**digests, "passed": sorted(passed)}, indent=2) + "\n")

    def to_run(self) -> list[str] | None:
        """Pytest's arguments for what is not proven; None when all is."""
        now, before = self.present(), self.kept()
        if now["tests"] != before.get("tests"):
            return []
        if now["subject"] != before.get("subject"):
            return ["-m", f"not {ONLY_FOR_NEW_TESTS}"]
        return None


EMULATED = Proof(
    "tests/vm/qemu",
    (
        *("durable_database", "coachman/machine", "coachman/releases"),
        *("deploy/install.sh", "deploy/cloud-init.yaml", "systemd", "requirements.txt"),
    ),
)
SWARM = Proof(
    "tests/swarm",
    (
        *("deploy/container", "deploy/swarm", "deploy/monitoring", "coachman/export", "requirements.txt"),
        *("coachman/standalone.py", "coachman/serving", "coachman/ops", "durable_database", "app"),
        *("loadtests/replicas.py", "loadtests/running_service.py"),
    ),
)
PROOFS = {proof.folder: proof for proof in (EMULATED, SWARM)}


def digest(paths: Iterable[str]) -> str:
    """Of all files there that Git knows or would take, but for prose and the proofs themselves."""
    found = hashlib.sha256()
    for path in paths:
        if not (REPOSITORY / path).exists():
            raise SystemExit(
                f"{path} is not there: tests/support/proof.py has to name what the proof is about"
            )
        for file in sorted(_files(path)):
            if file.suffix != ".md" and file.name != "proof.json":
                found.update(f"{file.relative_to(REPOSITORY)}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest()


def _files(path: str) -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", path]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    names = {REPOSITORY / name for name in listed.stdout.split("\0") if name}
    return [file for file in names if file.is_file()]  # one that is deleted is known until the commit


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PROOFS:
        print(f"Usage: python -m tests.support.proof {'|'.join(PROOFS)}", file=sys.stderr)
        return 2
    to_run = PROOFS[arguments[0]].to_run()
    if to_run is not None:
        print(shlex.join(to_run))
    return int(to_run is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
