"""The cluster with the stack on it, once for all tests: to start it takes longer than to use it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.swarm.cluster import Cluster
from tests.swarm.host import why_not
from tests.swarm.images import prepare
from tests.swarm.node import DOCKER

TOOLS = (
    *(DOCKER, "dockerd", "containerd", "runc", "ip", "iptables", "nsenter", "setpriv", "unshare"),
    *("buildah", "podman", "mmdebstrap", "prometheus"),
)
RESULTS = Path("build") / "swarm.md"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        sentence = f"A Swarm needs {', '.join(missing)}: apt-get install docker.io iproute2 iptables"
        if "CI" in os.environ:  # its script installs them
            pytest.fail(sentence)
        pytest.skip(sentence)
    if reason := why_not():
        pytest.skip(f"There is no Swarm here: {reason}.")
    images = prepare()
    # Not pytest's own folders: a path of a unix socket has 107 characters at most.
    with closing(Cluster(Path(tempfile.mkdtemp(prefix="swarm-")))) as cluster:
        cluster.start(images)
        cluster.deploy()
        yield cluster
    assert not cluster.remains(), cluster.remains()


@pytest.fixture(scope="session")
def results() -> Iterator[list[str]]:
    """What each test counted, for the table in docs/beyond-one-vm.md."""
    rows: list[str] = []
    yield rows
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(rows) + "\n")
