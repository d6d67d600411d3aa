"""The table "your application needs" of docs/deploy.md: the unit as it ships, sealed, and with drop-ins."""

import json
from pathlib import Path

import pytest

from tests.vm.machine import Machine
from tests.vm.shop import RELEASES, Shop

HERE = Path(__file__).parent
DROP_INS = "/run/systemd/system/coachman.service.d"
# A network with another host on it.
NETWORK = """
ip netns add peer
ip link add net0 type veth peer name net1 netns peer
ip address add 192.0.2.1/24 dev net0 && ip link set net0 up
ip -n peer address add 192.0.2.2/24 dev net1 && ip -n peer link set net1 up
echo nameserver 192.0.2.2 >/etc/resolv.conf
"""
OVER_THE_NETWORK = {"http_by_name", "smtp", "redis"}
WITH_A_DROP_IN = {
    "interfaces": "RestrictAddressFamilies=AF_NETLINK",
    "elsewhere": "ReadWritePaths=/srv/needs",
    "machine_code": "MemoryDenyWriteExecute=no",
}


@pytest.fixture(scope="module")
def shop(machine: Machine) -> Shop:
    shop = Shop(machine)
    shop.settle()
    for name in ("needs.py", "peer.py"):
        machine.write(f"{RELEASES}/1/{name}", (HERE / name).read_text())
    machine.run(NETWORK)
    machine.run("install -d -o coachman /srv/needs")
    machine.run(f"systemd-run --quiet ip netns exec peer python3 {RELEASES}/1/peer.py")
    machine.wait("curl -s http://192.0.2.2/")
    shop.configure(COACHMAN_APP="needs:app", COACHMAN_WORKERS="1")
    return shop


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


def test_a_line_in_a_drop_in_allows_what_few_applications_need(shop: Shop) -> None:
    found = unmet(shop, "\n".join(WITH_A_DROP_IN.values()))

    assert set(found) == {"release_folder"}, found


def test_a_sealed_service_reaches_nobody(shop: Shop) -> None:
    sealed = (HERE.parents[1] / "systemd" / "drop-ins" / "00-sealed.conf").read_text()
    found = unmet(shop, sealed)

    assert set(found) == {"release_folder", "memory", *OVER_THE_NETWORK, *WITH_A_DROP_IN}, found
