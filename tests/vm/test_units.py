"""The units, as systemd reads them."""

import pytest

from tests.vm.machine import Machine

UNITS = "coachman.service coachman.socket coachman-ops.socket"
DROP_INS = {
    "00-sealed.conf": "coachman.service",
    "bind-public.conf": "coachman.socket",
    "credentials.conf": "coachman.service",
    "jit.conf": "coachman.service",
    "memory.conf": "coachman.service",
    "postgres-tcp.conf": "coachman.service",
    "unix-socket.conf": "coachman.socket",
}


def test_systemd_has_nothing_to_say_about_the_units(machine: Machine) -> None:
    assert machine.run(f"systemd-analyze verify {UNITS}") == ""


def test_the_service_is_hardly_exposed(machine: Machine) -> None:
    """The threshold is in tenths: of 10 where others' units have 8.4 to 9.8."""
    machine.run("systemd-analyze security --no-pager --threshold=13 coachman.service")


@pytest.mark.parametrize("drop_in", DROP_INS)
def test_systemd_has_nothing_to_say_about_the_drop_ins(machine: Machine, drop_in: str) -> None:
    folder = f"/run/systemd/system/{DROP_INS[drop_in]}.d"
    machine.run(f"mkdir -p {folder} && cp /root/checkout/systemd/drop-ins/{drop_in} {folder}/")
    try:
        machine.run("systemctl daemon-reload")
        assert machine.run(f"systemd-analyze verify {UNITS}") == ""
        assert drop_in in machine.show("DropInPaths", DROP_INS[drop_in])
        if drop_in == "00-sealed.conf":
            machine.run("systemd-analyze security --no-pager --threshold=4 coachman.service")
    finally:
        machine.run(f"rm -r {folder} && systemctl daemon-reload")
