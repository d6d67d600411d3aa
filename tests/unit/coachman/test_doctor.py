"""What `coachman doctor` finds in folders, units and ports, and the command that it names for each."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from coachman.machine import doctor, units
from coachman.machine.findings import Finding
from coachman.machine.units import Addresses
from coachman.releases.instance import Instance
from coachman.releases.layout import Layout, Release
from coachman.releases.systemd_service import Service

SHOP = Instance("shop")
Show = Callable[..., dict[str, str]]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Of two whole releases of a service that is not running; the newer one is current."""
    monkeypatch.setattr(doctor, "_shown", lambda *_: {"MainPID": "0"})
    layout = Layout(tmp_path, SHOP)
    for name in ("r1", "r2"):
        make(layout.release(name))
    layout.current.symlink_to("releases/r2")
    return layout


def make(release: Release) -> None:
    release.python.parent.mkdir(parents=True)
    release.python.touch()
    release.record.write_text("{}")


def of_releases(layout: Layout) -> list[Finding]:
    return list(doctor.of_releases(layout))


def test_whole_releases_are_no_finding(layout: Layout) -> None:
    assert of_releases(layout) == []


def test_a_release_half_done_is_found_with_the_way_on(layout: Layout) -> None:
    layout.fallback.symlink_to("releases/r1")
    (layout.releases / "r3").mkdir()

    cut_off, unfinished = of_releases(layout)

    assert cut_off.what == "Release r2 was cut off before its outcome; the next start goes back to r1"
    assert cut_off.next == "coachman -n shop release PATH; coachman -n shop rollback"
    assert unfinished.what == "Release r3 was never completed"
    assert unfinished.next == f"rm -r {layout.releases}/r3, or coachman -n shop release PATH"


def test_a_release_that_cannot_start_is_found(layout: Layout) -> None:
    layout.release("r2").python.unlink()
    [gone] = of_releases(layout)
    assert gone.what.startswith("The interpreter of release r2 is gone")
    assert gone.next == "coachman -n shop release PATH"

    layout.current.unlink()
    [nothing] = of_releases(layout)
    assert nothing.what == f"{layout.current} names no release"
    assert nothing.next == "coachman -n shop release PATH"


def test_another_release_that_runs_is_found(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_shown", lambda *_: {"MainPID": "self"})

    [other] = of_releases(layout)

    assert other.what == f"{tmp_path.name} serves, and {layout.current} names r2"
    assert other.next == "systemctl reload coachman-shop"


def test_a_port_that_another_program_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setattr(
            Service, "listens_on", lambda _, unit: address if "ops" in unit else "/run/x.sock"
        )
        monkeypatch.setattr(doctor, "_shown", lambda *_: {"ActiveState": "failed"})

        [taken] = doctor.of_ports(SHOP)

        assert taken.what == f"Another program listens on {address}, which coachman-shop-ops.socket wants"
        assert taken.next == f"ss -ltnp 'sport = :{address.rpartition(':')[2]}'"
        monkeypatch.setattr(doctor, "_shown", lambda *_: {"ActiveState": "active"})
        assert list(doctor.of_ports(SHOP)) == [], "it is the socket itself"


def test_units_that_were_edited_or_are_gone_are_found_and_drop_ins_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "UNITS", tmp_path)
    monkeypatch.setattr(units, "systemd_version", lambda: 252)
    mine = units.drop_ins(SHOP) / "mine.conf"
    monkeypatch.setattr(units, "_all_drop_ins", lambda _: [mine] if mine.exists() else [])
    for path, text in units.render(SHOP, Addresses(), is_sealed=False, systemd=252).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert list(doctor.of_unit_files(SHOP)) == []

    mine.write_text("[Service]\nMemoryMax=1G\n")
    (tmp_path / SHOP.service).write_text("[Service]\n")
    (units.drop_ins(SHOP) / "credentials.conf").unlink()

    assert {one.what for one in doctor.of_unit_files(SHOP)} == {
        f"{tmp_path}/coachman-shop.service is not as this Coachman installs it",
        f"{units.drop_ins(SHOP)}/credentials.conf is not there",
    }
    assert {one.next for one in doctor.of_unit_files(SHOP)} == {
        "systemctl edit coachman-shop for changes; coachman -n shop install PATH writes it anew"
    }
    assert doctor.drop_ins(SHOP) == [mine]


def test_a_certificate_that_cannot_be_read_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fullchain.pem"
    path.write_text("no certificate")
    monkeypatch.setattr(doctor, "_certificates", lambda: {str(path)})

    [unreadable] = doctor.of_certificates()

    assert unreadable.what == f"The certificate {path} cannot be read"
    assert unreadable.next == f"openssl x509 -noout -in {path}"
