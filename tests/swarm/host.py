"""Whether this machine can run nodes at all."""

import os
import subprocess

from tests.swarm.node import CGROUPS, NAMESPACES

# What a node asks of the kernel.
TRIAL = """
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work overlay /etc
ip link add name lan type bridge
ip link add name one type veth peer name other
ip link add name tunnel type vxlan id 1 dstport 4789 dev lo
iptables -t nat --list --numeric >/run/nat
"""


def why_not() -> str | None:
    """Returns why no node can be started on this machine, or None."""
    if os.geteuid() != 0:
        return "a node is started as root"
    trial = ["unshare", *NAMESPACES, "--fork", "--kill-child=KILL", "sh", "-ec", TRIAL]
    done = subprocess.run(trial, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return f"its namespaces cannot be made here: {done.stderr.strip()}"
    if not any(os.access(hierarchy, os.W_OK) for hierarchy in CGROUPS.iterdir()):
        return f"{CGROUPS} cannot be written"
    return None
