"""The files that systemd reads for an application, rendered from the templates beside this file."""

import contextlib
import grp
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from coachman.releases.command import RefusedError, run
from coachman.releases.instance import Instance
from coachman.system.sockets import Address, parse_address

UNITS = Path("/etc/systemd/system")
SET_PROPERTIES = Path("/etc/systemd/system.control")  # what `systemctl set-property` leaves
SYSUSERS = Path("/usr/lib/sysusers.d")
TEMPLATES = Path(__file__).with_name("templates")
PUBLIC_PORT, OPS_PORT = 8000, 9100  # of the unnamed application; the next ones are the others'
SEALING = "00-sealed.conf"  # before all others: postgres-tcp.conf opens what one server needs
PROXY_GROUPS = ("www-data", "nginx")  # of Debian and its kin, and of others
_ACCESS = "\nSocketUser=root\nSocketGroup={}\nSocketMode=0660"
FOLDERS_OF_CREDENTIALS = 250  # the first systemd that loads a whole folder
AS_INSTALLED, MISSING = "as installed", "is not there"
EDITED, OF_THIS_MACHINE = "not as this Coachman installs it", "a drop-in of this machine"
_LISTENS = re.compile(r"^ListenStream=(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Addresses:
    """Where the application and its operations are served, as systemd writes addresses."""

    public: str = f"127.0.0.1:{PUBLIC_PORT}"
    ops: str = f"127.0.0.1:{OPS_PORT}"

    @classmethod
    def after(cls, number: int) -> "Addresses":
        """The default ones, `number` ports further."""
        return cls(f"127.0.0.1:{PUBLIC_PORT + number}", f"127.0.0.1:{OPS_PORT + number}")

    def both(self) -> tuple[str, str]:
        return self.public, self.ops


def render(instance: Instance, addresses: Addresses, *, is_sealed: bool, systemd: int) -> dict[Path, str]:
    """Returns the texts of the units and of their drop-ins, by where they go, for that version of systemd."""
    public, ops = instance.sockets
    places = {UNITS / instance.service: "service", UNITS / public: "socket", UNITS / ops: "ops.socket"}
    if is_sealed:
        places[sealing(instance)] = SEALING
    if systemd >= FOLDERS_OF_CREDENTIALS:
        places[drop_ins(instance) / "credentials.conf"] = "credentials.conf"
    return {path: _filled(template, instance, addresses) for path, template in places.items()}


def account(instance: Instance) -> tuple[Path, str]:
    """Returns where systemd-sysusers reads of the user, and what."""
    return SYSUSERS / f"{instance.id}.conf", _filled("sysusers.conf", instance, Addresses())


def drop_ins(instance: Instance) -> Path:
    """Returns the folder of the drop-ins of the service."""
    return UNITS / f"{instance.service}.d"


def sealing(instance: Instance) -> Path:
    """Returns the drop-in that takes the network away."""
    return drop_ins(instance) / SEALING


def is_sealed(instance: Instance) -> bool:
    """Whether what is installed reaches no network. The units of version 0.1 did so by themselves."""
    service = UNITS / instance.service
    return sealing(instance).exists() or (
        service.exists() and "\nPrivateNetwork=yes\n" in service.read_text(encoding="utf-8")
    )


def installed() -> list[Instance]:
    """Returns the applications whose units are on this machine, the unnamed one first."""
    found = []
    for path in sorted(UNITS.glob("coachman*.service")):
        name = path.stem.removeprefix("coachman").removeprefix("-")
        instance = Instance(name)
        if path.name == instance.service and all((UNITS / one).exists() for one in instance.sockets):
            found.append(instance)
    return sorted(found, key=lambda one: one.name)


def addresses_of(instance: Instance) -> Addresses | None:
    """Returns what the installed units say; None where there are none. Drop-ins may say otherwise."""
    found = []
    for unit in instance.sockets:
        path = UNITS / unit
        if not path.exists() or not (match := _LISTENS.search(path.read_text(encoding="utf-8"))):
            return None
        found.append(match[1])
    return Addresses(*found)


def states(instance: Instance) -> list[tuple[Path, str]]:
    """Returns each unit and drop-in of an installed application, and whether it is as it was installed."""
    addresses = addresses_of(instance) or Addresses()
    shipped = render(instance, addresses, is_sealed=sealing(instance).exists(), systemd=systemd_version())
    found = []
    for path, text in shipped.items():
        if not path.exists():
            found.append((path, MISSING))
        else:
            found.append((path, AS_INSTALLED if path.read_text(encoding="utf-8") == text else EDITED))
    others = [path for path in _all_drop_ins(instance) if path not in shipped]
    return found + [(path, OF_THIS_MACHINE) for path in others]


def _all_drop_ins(instance: Instance) -> list[Path]:
    names = [
        run("systemctl", "show", "--value", "--property=DropInPaths", unit).stdout.split()
        for unit in (instance.service, *instance.sockets)
    ]
    return [Path(name) for of_unit in names for name in of_unit]


def as_systemd_has_it(key: str, value: str) -> str:
    """Returns the address of an option as systemd writes it. Raises RefusedError with a sentence."""
    try:
        address = parse_address(value)
    except ValueError as error:
        raise RefusedError(
            f"{key} {value} is refused: it must be HOST:PORT or unix:/PATH ({error})."
        ) from None
    if isinstance(address, str):
        if key == "--ops-bind" or re.search(r"[\s%]", address):
            raise RefusedError(f"{key} {value} is refused: it must be HOST:PORT, or a path without blanks.")
        return address
    host, port = address
    if not port:
        raise RefusedError(f"{key} {value} is refused: name the port.")
    if not re.fullmatch(r"[0-9a-f.:%]+", host):
        raise RefusedError(f"{key} {value} is refused: systemd takes an IP address, not a name.")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address(text: str) -> Address:
    """Returns what systemd writes as an address."""
    return parse_address(f"unix:{text}" if text.startswith("/") else text)


def is_beyond_loopback(text: str) -> bool:
    """Whether other machines can reach what systemd writes as an address."""
    parsed = address(text)
    return not isinstance(parsed, str) and not ipaddress.ip_address(parsed[0]).is_loopback


def proxy_group() -> str:
    """Returns the group of nginx on this machine, to which a unix socket belongs; else nothing."""
    known = {entry.gr_name for entry in grp.getgrall()}
    return next((name for name in PROXY_GROUPS if name in known), "")


def nginx(instance: Instance, host: str) -> str:
    """Returns the configuration of nginx that serves an application under a host name."""
    return _filled("nginx.conf", instance, Addresses()).replace("@host@", host)


def systemd_version() -> int:
    """Returns that of this machine; where there is none, of a machine that has all that is needed."""
    with contextlib.suppress(RefusedError):
        if match := re.match(r"systemd (\d+)", run("systemctl", "--version").stdout):
            return int(match[1])
    return FOLDERS_OF_CREDENTIALS


def _filled(template: str, instance: Instance, addresses: Addresses) -> str:
    title = f"{instance.name} under Coachman" if instance.name else "FastAPI application under Coachman"
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for key, value in {
        "id": instance.id,
        "title": title,
        "owner": f"Coachman ({instance.name})" if instance.name else "Coachman",
        "command": instance.command,
        "public": addresses.public,
        "ops": addresses.ops,
        "access": _ACCESS.format(proxy_group() or PROXY_GROUPS[0])
        if addresses.public.startswith("/")
        else "",
    }.items():
        text = text.replace(f"@{key}@", value)
    return text
