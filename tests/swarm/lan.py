"""A network of the tests' own, in a namespace that ends with them: the machine's own has nothing of it."""

import contextlib
import socket
import subprocess
from pathlib import Path

from tests.support.network import connect_in
from tests.support.service import wait_until

SUBNET = "10.213.0"

# Ends a process when its parent ends, also when that is killed.
WITH_US = ("setpriv", "--pdeathsig", "KILL")


class Lan:
    """A bridge with an address, from which the tests ask; nodes are plugged in."""

    def __init__(self) -> None:
        steps = "ip link set lo up; ip link add lan type bridge; ip link set lan up"
        steps += f"; ip addr add {SUBNET}.1/24 dev lan"
        self._process = subprocess.Popen(
            [*WITH_US, "unshare", "--net", "sh", "-ec", f"{steps}; exec sleep infinity"]
        )
        self.pid = self._process.pid
        assert wait_until(self._is_up), "the network of the tests was not made"

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def plug(self, node: int, number: int) -> str:
        """Gives the network namespace of process `node` a card, and returns its address."""
        address = f"{SUBNET}.{number}"
        self._ip("link", "add", f"n{number}", "type", "veth", "peer", "name", "eth0", "netns", str(node))
        self._ip("link", "set", f"n{number}", "master", "lan", "up")
        for arguments in (["addr", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            _run("nsenter", "--target", str(node), "--net", "ip", *arguments)
        return address

    def connect(self, address: tuple[str, int], timeout: float = 15, *_: object) -> socket.socket:
        """Opens a connection from this network."""
        with open(f"/proc/{self.pid}/ns/net") as namespace:
            return connect_in(namespace.fileno(), address, timeout)

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError):
            if is_in_our_network(self.pid):
                return False
        shown = subprocess.run(
            ["nsenter", "--target", str(self.pid), "--net", "ip", "-4", "addr", "show", "dev", "lan"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return SUBNET in shown.stdout

    def _ip(self, *arguments: str) -> None:
        _run("nsenter", "--target", str(self.pid), "--net", "ip", *arguments)


def is_in_our_network(pid: int) -> bool:
    """Whether a process has not left the network of the tests' own process yet."""
    return Path(f"/proc/{pid}/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
