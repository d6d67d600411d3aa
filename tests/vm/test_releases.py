"""`coachman release` and `coachman rollback`, with an application that is not the one that ships."""

import json
import re
from pathlib import Path

import pytest

from tests.support.load import Load
from tests.support.package import UV
from tests.vm.machine import Machine, finish
from tests.vm.shop import PAUSE
from tests.vm.wheel import make_wheel

BAKERY = Path(__file__).with_name("bakery")
# What installs, and how much, is the point of few tests. The others take uv, and a package that lends what
# the command of the operator has.
PIP_RELEASE = "coachman release --wheels /root/wheels"
RELEASE = f"PATH=/root/uv:$PATH {PIP_RELEASE}"
GATE = "/var/lib/coachman/gate"
LENT = {
    "lent.pth": "/opt/coachman/command/lib/python3.11/site-packages\n",
    "lent-1.0.dist-info/entry_points.txt": "[console_scripts]\ngunicorn = gunicorn.app.wsgiapp:run\n",
}


@pytest.fixture(scope="module")
def bakery(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Its first release serves, made with COACHMAN_APP and nothing else."""
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        files = {"flavour/__init__.py": f"NAME = 'rye {version}'\n"}
        machine.put(make_wheel(folder, "flavour", version, files), "/root/wheels")
    machine.put(make_wheel(folder, "lent", "1.0", LENT), "/root/wheels")
    application = {"app/__init__.py": "", "app/web.py": (BAKERY / "app" / "web.py").read_text()}
    machine.put(make_wheel(folder, "bakery", "1.0", application, "fastapi"), "/root/wheels")
    machine.put(BAKERY, "/root")
    machine.write(
        "/etc/coachman/coachman.env", f"COACHMAN_APP=app.web:api\nCOACHMAN_WORKERS=2\nGATE={GATE}\n"
    )
    machine.put(UV, "/root/uv")
    assert "from requirements.txt by pip" in machine.run(f"{PIP_RELEASE} /root/bakery")
    machine.run("sed -i s/^fastapi.*/lent/ /root/bakery/requirements.txt")
    return machine


@pytest.fixture
def draft(bakery: Machine) -> str:
    """A copy to be spoilt."""
    bakery.run("rm -rf /root/draft && cp -r /root/bakery /root/draft")
    return "/root/draft/app/web.py"


def bread(machine: Machine) -> dict[str, str]:
    answer: dict[str, str] = json.loads(machine.run("curl -sSf http://127.0.0.1:8000/bread"))
    return answer


def current(machine: Machine) -> str:
    return machine.run("basename $(readlink /opt/coachman/current)").strip()


def test_an_application_of_ones_own_needs_one_setting_and_nothing_else(bakery: Machine) -> None:
    assert bread(bakery) == {"flavour": "rye 1.0", "folder": f"/opt/coachman/releases/{current(bakery)}"}


def test_a_release_brings_new_dependencies_and_a_rollback_the_old_ones_under_load(
    bakery: Machine, draft: str
) -> None:
    before = current(bakery)
    bakery.run("sed -i s/1.0/2.0/ /root/draft/requirements.txt")
    with Load(8000, "/bread", clients=4, pause=PAUSE, connect=bakery.connect) as load:
        printed = bakery.run(f"{RELEASE} /root/draft")
        assert bread(bakery)["flavour"] == "rye 2.0", printed
        assert "from requirements.txt by uv" in printed
        bakery.run("coachman rollback")
        assert (bread(bakery)["flavour"], current(bakery)) == ("rye 1.0", before)
    assert set(load.outcomes) == {"success"}, f"{load.outcomes}\n{bakery.journal()}"
    for step in ("Copied", "Installed its packages", "Synced it to disk", "Switched", "serves: generation"):
        assert step in printed


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("import not_there", "needs the module not_there, which is not installed"),
        ("api.router.lifespan_context = None", "The application failed"),
    ],
)
def test_a_release_that_does_not_come_up_changes_nothing(
    bakery: Machine, draft: str, line: str, sentence: str
) -> None:
    before, pid, listed = current(bakery), bakery.show("MainPID"), releases(bakery)
    bakery.run(f'echo "{line}" >>{draft}')

    printed = bakery.run(f"{RELEASE} /root/draft", code=1)

    assert sentence in printed, printed
    assert printed.splitlines()[-1] == f"Refused. Release {before} is current as before.", printed
    assert (current(bakery), bakery.show("MainPID")) == (before, pid)
    last = json.loads(bakery.run("tail -n 1 /opt/coachman/audit.log"))
    assert (last["outcome"], sentence in last["reason"]) == ("refused", True)
    assert releases(bakery) == listed, "one may roll back to it"


def test_a_package_that_is_not_there_is_named(bakery: Machine, draft: str) -> None:
    bakery.run("echo nowhere==1.0 >>/root/draft/requirements.txt")

    printed = bakery.run(f"{PIP_RELEASE} /root/draft", code=1)
    assert "No matching distribution found for nowhere==1.0" in printed

    printed = bakery.run(f"{RELEASE} /root/draft", code=1)
    assert "nowhere was not found in the provided package locations" in printed, printed


def test_a_migration_that_fails_refuses_the_release(bakery: Machine, draft: str) -> None:
    bakery.run(
        "mkdir /root/draft/scripts && cd /root/draft/scripts"
        " && echo '#!/bin/sh\necho no such table; exit 1' >migrate"
    )
    bakery.run("chmod +x /root/draft/scripts/migrate")

    assert "no such table" in bakery.run(f"{RELEASE} /root/draft", code=1)


def test_only_one_release_at_a_time_and_a_killed_one_leaves_no_lock(bakery: Machine, draft: str) -> None:
    before = current(bakery)
    wait = "import os, pathlib, time\nwhile pathlib.Path(os.environ['GATE']).exists(): time.sleep(0.1)\n"
    bakery.write("/root/wait.py", wait)
    bakery.run(f"touch {GATE} && cat /root/wait.py >>{draft}")
    first = bakery.begin(f"{RELEASE} /root/draft")
    bakery.wait("pgrep -f 'coachman [c]heck'")

    printed = bakery.run(f"{RELEASE} /root/bakery", code=1)
    assert re.search(r"has begun a release at \S+ \(pid \d+\); wait for its end, then try again\.", printed)

    bakery.run("pkill -9 -f '[c]oachman release'")
    finish(first)
    bakery.run(f"rm {GATE}")
    assert current(bakery) == before
    bakery.run(f"{RELEASE} /root/bakery")
    assert bread(bakery)["flavour"] == "rye 1.0"


WAITING = """
import asyncio, contextlib, os, pathlib
from app.web import api

@contextlib.asynccontextmanager
async def wait(_):
    while pathlib.Path(os.environ["GATE"]).exists():
        await asyncio.sleep(0.1)
    yield

api.router.lifespan_context = wait
"""


@pytest.fixture
def interrupted(bakery: Machine, draft: str) -> str:
    """What was current before a release was killed that had just switched it, and has no outcome."""
    before = current(bakery)
    bakery.write("/root/draft/app/slow.py", WAITING)
    bakery.run(f"touch {GATE} && echo 'import app.slow' >>{draft}")
    command = bakery.begin(f"{RELEASE} /root/draft")
    bakery.wait(f"test $(basename $(readlink /opt/coachman/current)) != {before}")
    bakery.wait("test $(ls /run/coachman/scoreboard.* | wc -l) = 2")
    bakery.run("pkill -9 -f '[c]oachman release'")
    finish(command)
    return before


def test_a_start_goes_back_when_a_killed_release_has_no_outcome(bakery: Machine, interrupted: str) -> None:
    bakery.run("kill -9 $(systemctl show --value -p MainPID coachman)")

    serves = "curl -sf http://127.0.0.1:9100/readyz"
    bakery.wait(f"test $(readlink /opt/coachman/current) = releases/{interrupted} && {serves}")
    assert bread(bakery)["folder"].endswith(interrupted)
    bakery.run(f"rm {GATE}; test ! -L /opt/coachman/fallback")


def test_what_a_killed_release_has_begun_may_still_come_up_and_stays(
    bakery: Machine, interrupted: str
) -> None:
    bakery.run(f"rm {GATE}")

    bakery.wait("test ! -L /opt/coachman/fallback")  # the reload has succeeded
    assert current(bakery) != interrupted
    assert bread(bakery)["folder"].endswith(current(bakery))
    bakery.run("systemctl restart coachman")
    assert bread(bakery)["folder"].endswith(current(bakery))


def test_the_next_release_goes_on_from_the_last_one_that_served(bakery: Machine, interrupted: str) -> None:
    unproven = current(bakery)
    bakery.run("pkill -9 -f 'coachman [h]andover'")  # systemd has nobody left to hear the outcome from
    bakery.run("kill -9 $(ls /run/coachman/scoreboard.* | sed 's/.*board.//' | sort -n | tail -1)")
    bakery.write("/root/spoilt/requirements.txt", "fastapi\nnowhere==1.0\n")

    printed = bakery.run(
        f"echo 'raise OSError' >>/opt/coachman/current/app/web.py; {RELEASE} /root/spoilt", code=1
    )

    assert f"It does not serve: release {interrupted} is current again" in printed, printed
    assert current(bakery) == interrupted
    assert bread(bakery)["folder"].endswith(interrupted)
    assert unproven not in {one["id"] for one in releases(bakery)}, "one may roll back to it"
    bakery.run(f"rm {GATE}")


def test_a_tarball_and_a_folder_of_wheels_are_released_too(bakery: Machine) -> None:
    bakery.run("tar -C /root -czf /root/bakery.tar.gz bakery")
    bakery.run(f"{RELEASE} /root/bakery.tar.gz")
    assert bread(bakery)["folder"].endswith(current(bakery))

    bakery.run(
        "cp -r /root/wheels /root/all && cd /root/all && rm -f flavour-2* lent-* databases*"
        " && find . -name '*-cp3*' ! -name '*-cp311-*' ! -name '*-abi3-*' -delete"  # of other Pythons
    )
    bakery.run("PATH=/root/uv:$PATH coachman release /root/all")
    assert bread(bakery)["flavour"] == "rye 1.0"


def test_no_more_releases_stay_than_are_wanted(bakery: Machine) -> None:
    bakery.run(f"{RELEASE} --keep 2 /root/bakery")

    assert len(releases(bakery)) == 2
    assert len(bakery.run("ls /opt/coachman/releases").split()) == 2
    assert releases(bakery)[-1]["current"]


def test_what_cannot_be_released_is_said_in_one_sentence(bakery: Machine) -> None:
    for command, sentence in {
        "coachman release /root/nowhere": "/root/nowhere is not there: name a folder, a tarball",
        "coachman release /etc/ssl": "/etc/ssl has no requirements.txt",
        "coachman release /etc/passwd": "/etc/passwd cannot be unpacked",
        "coachman rollback 19700101-000000": "There is no release 19700101-000000: `coachman releases`",
        "coachman rollback ../../etc": "../../etc is no release",
        "setpriv --reuid coachman --regid coachman --clear-groups coachman releases": "",
        "setpriv --reuid coachman --regid coachman --clear-groups coachman rollback": "run this with sudo",
    }.items():
        printed = bakery.run(command, code=0 if not sentence else 1)
        assert sentence in printed, printed
        assert "Traceback" not in printed


def releases(machine: Machine) -> list[dict[str, object]]:
    """The oldest first."""
    return [json.loads(line) for line in machine.run("coachman releases --json").splitlines()]
