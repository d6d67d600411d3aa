"""The nginx that we ship, in front of replicas."""

import os
import signal
from pathlib import Path

from tests.container.shop import Replica
from tests.support.nginx import Nginx

LINE = "server unix:SOCKET max_fails=0;"


class Proxy(Nginx):
    """The shipped configuration with a line for each replica, in place of one socket three times."""

    def __init__(self, folder: Path, *replicas: Replica) -> None:
        folder.mkdir()
        super().__init__(folder, "SOCKET")
        self._shipped = (folder / "site.conf").read_text()
        assert self._shipped.count(LINE) == 3
        self._route_to(replicas)

    def _route_to(self, replicas: tuple[Replica, ...]) -> None:
        servers = " ".join(f"server 127.0.0.1:{replica.port} max_fails=0;" for replica in replicas)
        site = self._shipped.replace(LINE, servers, 1).replace(LINE, "")
        (self.folder / "site.conf").write_text(site)

    def take_away(self, *, staying: Replica) -> None:
        """As a cluster takes a pod from the endpoints, which its proxies then learn."""
        self._route_to((staying,))
        os.kill(int((self.folder / "nginx.pid").read_text()), signal.SIGHUP)
