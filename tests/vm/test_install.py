"""From a bare machine to a service, through a release and back, and off again; without a network."""

import json
import re
from collections.abc import Callable

import pytest

from tests.vm.conftest import REPOSITORY
from tests.vm.machine import Machine

# As from a package index, into an environment of root's own, and by the script of a checkout.
PACKAGE = (
    "python3 -m venv /root/venv && "
    "/root/venv/bin/pip install --quiet --no-index --find-links /root/wheels coachman"
)
INSTALL = {
    "bookworm": "/root/venv/bin/coachman install --wheels /root/wheels /root/checkout",
    "trixie": "/root/checkout/deploy/install.sh --wheels /root/wheels",
}
ITEM = (
    """-H 'Content-Type: application/json' -d '{"sku": "TEA-1", "name": "Darjeeling", "unit_price": 450}'"""
)


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_install_use_release_rollback_uninstall(fresh_machine: Callable[[str], Machine], suite: str) -> None:
    with fresh_machine(suite) as machine:
        assert machine.run("ip -o link | grep -v LOOPBACK", code=None) == "", "there is a network"
        if suite == "bookworm":
            machine.run(PACKAGE)
            machine.run(f"{INSTALL[suite]} --dry-run")
            machine.run("test -e /opt/coachman -o -e /etc/coachman", code=1)

        printed = machine.run(INSTALL[suite])
        assert "serves: generation 1" in printed
        assert "curl -s http://127.0.0.1:8000/" in printed
        machine.run("ls /opt/coachman/current/app/__pycache__/main.*.pyc")
        machine.run("systemctl is-enabled coachman.socket coachman-ops.socket coachman.service")
        machine.run("systemd-analyze security --no-pager --threshold=13 coachman.service")
        assert json.loads(machine.run(f"curl -sSf http://127.0.0.1:8000/items {ITEM}"))["sku"] == "TEA-1"
        [first] = releases(machine)

        printed = machine.run("coachman release --wheels /root/wheels /root/checkout")
        assert "serves: generation 2" in printed, printed
        [_, second] = releases(machine)
        assert second["current"]
        printed = machine.run("coachman rollback")
        assert f"Release {first['id']} serves: generation 3" in printed
        assert "TEA-1" in machine.run("curl -sSf http://127.0.0.1:8000/items")
        outcomes = [json.loads(line) for line in machine.run("cat /opt/coachman/audit.log").splitlines()]
        assert [(entry["did"], entry["outcome"]) for entry in outcomes] == [
            ("release", "serves"),
            ("release", "serves"),
            ("rollback", "serves"),
        ]

        assert_a_key_is_needed_once_there_is_one(machine)

        if suite == "bookworm":
            machine.run("coachman uninstall")
            machine.run("test -s /var/lib/coachman/coachman.db -a -s /etc/coachman/coachman.env")
            machine.run("test -e /opt/coachman -o -e /usr/local/bin/coachman", code=1)
            machine.run("/root/venv/bin/coachman uninstall --data")
        else:
            machine.run("coachman uninstall --data")
        machine.run("test -e /opt/coachman -o -e /usr/local/bin/coachman", code=1)
        assert machine.run("systemctl list-unit-files 'coachman*' --no-legend", code=None).strip() == ""
        assert machine.run("ss -Hltn") == "", "something listens still"
        machine.run("test -e /var/lib/coachman -o -e /etc/coachman", code=1)
        machine.run("id coachman", code=1)


def assert_a_key_is_needed_once_there_is_one(machine: Machine) -> None:
    """The service's user reads the file that root's command has made."""
    ask = (
        f"curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1:8000/items {ITEM.replace('TEA', 'MATE')}"
    )
    key = machine.run("coachman keys add till 2>/dev/null").strip()
    machine.run("systemctl reload coachman")
    assert machine.run(ask) == "401", machine.journal()
    assert machine.run(f"{ask} -H 'Authorization: Bearer {key}'") == "201", machine.journal()
    assert "till" in machine.run("coachman keys list")


def releases(machine: Machine) -> list[dict[str, object]]:
    return [json.loads(line) for line in machine.run("coachman releases --json").splitlines()]


SHOP = {
    "requirements.txt": "fastapi\n",
    "main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n\n\n"
    "@app.get('/')\ndef bread() -> str:\n    return 'rye'\n",
}
# In the place of the package index, which the commands are written for.
INDEX = "cd /root && export PIP_NO_INDEX=1 PIP_FIND_LINKS=/root/wheels"


def commands(page: str, heading: str) -> list[str]:
    """The blocks of commands below a heading of a page, as they stand there."""
    text = (REPOSITORY / page).read_text()
    _, _, below = text.partition(f"\n{heading}\n") if heading else ("", "", text)
    return re.findall(r"^```sh\n(.*?)^```$", below.partition("\n## ")[0], re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_readme_as_they_stand_there(fresh_machine: Callable[[str], Machine]) -> None:
    install, spoil = commands("README.md", "## Install it on a bare machine")
    assert commands("docs/deploy.md", "")[0] == install
    with fresh_machine("trixie") as machine:
        for folder in ("shop", "bakery"):
            for name, text in SHOP.items():
                machine.write(f"/root/{folder}/{name}", text)
        machine.run("cp /root/wheels/coachman-*.whl /root")

        printed = machine.run(f"{INDEX} && set -e\n{install}")
        assert "serves: generation 1" in printed, printed
        assert machine.run("curl -s http://127.0.0.1:8000/") == '"rye"'

        printed = machine.run(f"{INDEX}\n{spoil}", code=1)
        assert printed.splitlines()[-1].startswith("Refused. Release "), printed
        assert "importing main failed: RuntimeError: half written" in printed
        assert machine.run("curl -s http://127.0.0.1:8000/") == '"rye"'

        machine.run(f"{INDEX} && coachman release bakery")  # as the next version of the shop
        assert "serves: generation 3" in machine.run("coachman rollback")
        printed = machine.run(f"{INDEX} && coachman install --name bakery bakery")
        assert "curl -s http://127.0.0.1:8001/" in printed
        assert len(machine.run("coachman list").splitlines()) == 3
        assert "Nothing is wrong with coachman." in machine.run("coachman doctor")
        machine.run("coachman -n bakery uninstall --data && coachman uninstall --data")
        assert machine.run("ss -Hltn") == "", "something listens still"
