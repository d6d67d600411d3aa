"""What `coachman install` writes, without a machine to write it to."""

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from coachman.machine import own_package, units
from coachman.machine.changes import Changes
from coachman.machine.install import Requested, choose_addresses
from coachman.machine.settings_file import changed_settings, with_app
from coachman.machine.units import Addresses
from coachman.releases.command import RefusedError
from coachman.releases.instance import UNNAMED, Instance
from scripts.render_units import rendered

SHOP = Instance("shop")


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of units, with none in it."""
    monkeypatch.setattr(units, "UNITS", tmp_path)
    return tmp_path


def put_units(instance: Instance, addresses: Addresses, *, is_sealed: bool = False) -> None:
    for path, text in units.render(instance, addresses, is_sealed=is_sealed, systemd=252).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_the_units_in_the_repository_are_those_that_are_installed() -> None:
    for path, text in rendered().items():
        assert path.read_text() == text, f"{path.name} has drifted: run scripts/render_units.py"


def test_a_named_application_shares_nothing_with_the_unnamed_one() -> None:
    addresses = Addresses.after(1)
    for text in units.render(SHOP, addresses, is_sealed=True, systemd=252).values():
        assert not re.search(r"@[a-z]+@", text), "a placeholder is left"
        # Of what stands in it, only these are the same for all.
        rest = text.replace("coachman-shop", "").replace("-m coachman ", "").replace("coachman.env", "")
        rest = rest.replace("coachman.db", "").replace("LoadCredential=coachman:", "")
        assert "coachman" not in rest.replace("`coachman -n shop install", "").replace(
            "`coachman install", ""
        ), text
        assert "8000" not in rest
        assert "9100" not in rest


@pytest.mark.parametrize(
    "name", ["", "Shop", "shop_2", "2shop", "shop-", "a" * 21, "ops", "shop-ops", "a/b", "a b"]
)
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"it must be a letter|end in -ops"):
        Instance.named(name)


def test_the_installed_applications_are_those_with_all_their_units(etc: Path) -> None:
    put_units(SHOP, Addresses.after(1))
    put_units(UNNAMED, Addresses())
    (etc / "coachman-half.service").touch()
    (etc / "coachmanship.service").touch()

    assert units.installed() == [UNNAMED, SHOP]
    assert units.addresses_of(SHOP) == Addresses("127.0.0.1:8001", "127.0.0.1:9101")
    assert units.addresses_of(Instance("half")) is None


@pytest.mark.usefixtures("etc")
def test_addresses_are_those_asked_for_else_the_installed_else_the_next() -> None:
    put_units(UNNAMED, Addresses("[::]:80", "127.0.0.1:9100"))
    put_units(SHOP, Addresses.after(1))

    assert choose_addresses(UNNAMED, Requested()) == Addresses("[::]:80", "127.0.0.1:9100")
    assert choose_addresses(SHOP, Requested(bind="0.0.0.0:81")).public == "0.0.0.0:81"
    # Which port is free is this machine's affair; that it is not the shop's is ours.
    assert not set(choose_addresses(Instance("bakery"), Requested()).both()) & set(Addresses.after(1).both())


@pytest.mark.parametrize(
    ("bind", "sentence"),
    [
        ("8000", "must be HOST:PORT"),
        ("localhost:8000", "takes an IP address"),
        ("127.0.0.1:0", "name the port"),
        ("unix:/run/the shop", "must be HOST:PORT, or a path without blanks"),
        ("127.0.0.1:9100", "are both 127.0.0.1:9100"),
    ],
)
@pytest.mark.usefixtures("etc")
def test_what_cannot_be_an_address_is_refused(bind: str, sentence: str) -> None:
    with pytest.raises(RefusedError, match=sentence):
        choose_addresses(UNNAMED, Requested(bind=bind))


def test_a_unix_socket_is_for_nginx_alone(etc: Path) -> None:
    addresses = choose_addresses(SHOP, Requested(bind="unix:/run/coachman-shop.sock"))
    put_units(SHOP, addresses)

    socket = (etc / "coachman-shop.socket").read_text()
    assert "\nListenStream=/run/coachman-shop.sock\nSocketUser=root\nSocketGroup=" in socket
    assert "\nSocketMode=0660\n" in socket
    assert units.addresses_of(SHOP) == addresses


@pytest.mark.parametrize(
    ("address", "is_open"),
    [
        ("127.0.0.1:8000", False),
        ("[::1]:8000", False),
        ("/run/x.sock", False),
        ("0.0.0.0:80", True),
        ("[::]:80", True),
        ("192.0.2.1:80", True),
    ],
)
def test_who_installs_for_other_machines_is_told_what_is_open(address: str, is_open: bool) -> None:
    assert units.is_beyond_loopback(address) is is_open


def test_each_application_has_zones_and_an_upstream_of_its_own_in_nginx() -> None:
    own = units.nginx(SHOP, "bakery.example")

    assert "server_name bakery.example;" in own
    assert not re.search(r"@[a-z]+@", own)
    for name in (r"upstream (\S+)", r"zone=(\S+):", r"shared:(\w[\w-]*):", r"unix:(/run/\S+) max"):
        [theirs, *_], [ours, *_] = (
            re.findall(name, text) for text in (units.nginx(UNNAMED, "a.example"), own)
        )
        assert ours != theirs


def test_a_service_is_sealed_by_its_drop_in_or_by_a_unit_of_version_0_1(etc: Path) -> None:
    put_units(SHOP, Addresses())
    assert not units.is_sealed(SHOP)
    put_units(SHOP, Addresses(), is_sealed=True)
    assert units.is_sealed(SHOP)
    (etc / "coachman.service").write_text("[Service]\nPrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\n")
    assert units.is_sealed(UNNAMED)


@pytest.mark.parametrize(
    ("text", "app", "wanted"),
    [
        ("# x\n", "", "# x\n"),
        ("# x\n", "main:app", "# x\nCOACHMAN_APP=main:app\n"),
        ("COACHMAN_APP=a:b\nX=1\n", "main:app", "COACHMAN_APP=main:app\nX=1\n"),
        ("COACHMAN_APP=main:app\n", "main:app", "COACHMAN_APP=main:app\n"),
    ],
)
def test_the_settings_name_the_application_that_is_asked_for(text: str, app: str, wanted: str) -> None:
    assert with_app(text, app) == wanted


def test_a_refused_release_leaves_the_settings_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Instance, "settings", tmp_path / "coachman.env")
    monkeypatch.setattr("coachman.machine.changes.shutil.chown", lambda *_: None)
    SHOP.settings.write_text("COACHMAN_APP=a:b\n")

    refused = pytest.raises(RefusedError, match="COACHMAN_APP=main:app")
    with refused, changed_settings(SHOP, "main:app", Changes(is_dry=False)):
        raise RefusedError(SHOP.settings.read_text())

    assert SHOP.settings.read_text() == "COACHMAN_APP=a:b\n"


def test_a_wheel_is_made_of_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip has added to it is left out; the wheel can be installed again."""
    site, about = tmp_path / "site", "coachman-9.0.dist-info"
    for name, text in {
        "coachman/__init__.py": "__version__ = '9.0'\n",
        "coachman/__pycache__/x.pyc": "x",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: coachman\nVersion: 9.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/INSTALLER": "pip\n",
        f"{about}/direct_url.json": "{}",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    listed = [path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()]
    (site / about / "RECORD").write_text("".join(f"{name},,\n" for name in [*listed, "../../bin/coachman"]))
    monkeypatch.setattr(own_package, "distribution", lambda _: PathDistribution(site / about))

    wheel = own_package.pack(tmp_path)

    with zipfile.ZipFile(wheel) as archive:
        assert sorted(archive.namelist()) == [
            f"{about}/METADATA",
            f"{about}/RECORD",
            f"{about}/WHEEL",
            "coachman/__init__.py",
        ]
        digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read("coachman/__init__.py")).digest())
        assert f"sha256={digest.rstrip(b'=').decode()}" in archive.read(f"{about}/RECORD").decode()
    target = tmp_path / "target"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        target,
        wheel,
    ]
    subprocess.run(pip, check=True, capture_output=True)
    assert (target / "coachman" / "__init__.py").read_text() == "__version__ = '9.0'\n"


def test_a_dry_run_changes_nothing_and_says_what_it_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = Changes(is_dry=True)
    kept = tmp_path / "kept"
    kept.touch()

    changes.write(tmp_path / "new", "text")
    changes.folder(tmp_path / "folder", 0o755)
    changes.remove(kept)
    changes.run("false")

    assert list(tmp_path.iterdir()) == [kept]
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("write", "make", "remove", "false"))
