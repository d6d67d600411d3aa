"""The unit files, without a systemd: what they say must fit what the code and the documents say."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from coachman.master.handover import MARGIN_SECONDS, PROBATION_SECONDS, load_seconds
from coachman.master.restart_policy import MIN_UPTIME_SECONDS
from coachman.releases import systemd_service as systemd_service
from coachman.settings import ServerSettings

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ("coachman.service", "coachman.socket", "coachman-ops.socket")


def directives(unit: str) -> dict[str, str]:
    """The last value of each directive that is assigned more than once."""
    found = re.findall(r"^(\w+)=(.*)$", (SYSTEMD / unit).read_text(), re.MULTILINE)
    return dict(found)


def test_each_directive_has_its_reason_in_the_readme() -> None:
    reasons = set(re.findall(r"`(\w+)=", (SYSTEMD / "README.md").read_text()))

    used = {name for unit in UNITS for name in directives(unit)}
    assert used - reasons == set()


def test_systemd_waits_longer_than_the_service_takes() -> None:
    service, settings = directives("coachman.service"), ServerSettings.model_construct()
    start, stop = int(service["TimeoutStartSec"]), int(service["TimeoutStopSec"])
    # A handover first waits for the drain of the one before; a refused one ends with a drain of its own.
    drains = 2 * (settings.kill_seconds + MARGIN_SECONDS)
    starts = load_seconds(settings.boot_seconds) + settings.boot_seconds + MARGIN_SECONDS
    handover = starts + PROBATION_SECONDS + MIN_UPTIME_SECONDS

    assert settings.drain_seconds < settings.kill_seconds < stop
    assert drains + handover < start
    assert start + stop < systemd_service.MOVE_SECONDS
    # Hung workers are replaced by the master before systemd takes the master for hung.
    assert settings.hang_seconds <= int(service["WatchdogSec"])


def test_the_sockets_have_the_names_that_the_service_knows_them_by() -> None:
    assert directives("coachman.socket")["FileDescriptorName"] == "public"
    assert directives("coachman-ops.socket")["FileDescriptorName"] == "ops"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize(("drop_ins", "tenths"), [((), 13), (("00-sealed.conf",), 4)])
def test_the_service_is_hardly_exposed(tmp_path: Path, drop_ins: tuple[str, ...], tenths: int) -> None:
    """Units of other servers have 8.4 to 9.8, as they are published."""
    folder = tmp_path / "coachman.service.d"
    folder.mkdir()
    shutil.copy(SYSTEMD / "coachman.service", tmp_path)
    for name in drop_ins:
        shutil.copy(SYSTEMD / "drop-ins" / name, folder)

    analyze = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={tenths}"]
    done = subprocess.run([*analyze, tmp_path / "coachman.service"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
