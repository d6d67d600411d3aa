"""Whether nginx should keep its connections to the workers: `make bench-nginx`.

One service on a unix socket, and one nginx with two ports: behind one each request has a connection of its
own, as deploy/nginx has it, behind the other nginx keeps some open. They are asked in turn, and in each round
a worker is killed while it answers. CPU is that of nginx and of the service; what failed are requests of GET.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from contenders import CONTENDERS
from fairness import FairSide
from side import LIMIT_SECONDS, REPOSITORY, BenchmarkError, free_port

SHIPPED = REPOSITORY / "deploy" / "nginx" / "coachman-proxy.conf"
CONFIGURATION = """
user {user}; daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    upstream fresh {{ {servers} }}
    upstream kept {{ {servers} keepalive 32; keepalive_timeout 4s; }}
    server {{
        listen 127.0.0.1:{fresh};
        location / {{ proxy_pass http://fresh; include {shipped}; }}
    }}
    server {{
        listen 127.0.0.1:{kept};
        location / {{ proxy_pass http://kept; include {shipped}; proxy_set_header Connection ""; }}
    }}
}}
"""


class Sample(NamedTuple):
    service_us: float  # of CPU, a request
    nginx_us: float
    largest_share: float
    failed: int  # while a worker was killed


class Behind(FairSide):
    """The service, on a unix socket."""

    def __init__(self, workers: int, folder: Path) -> None:
        super().__init__(CONTENDERS[0], "trivial", workers, folder)
        self.socket = str(folder / "public.sock")
        self._environment["COACHMAN_BIND"] = f"unix:{self.socket}"
        self._environment["COACHMAN_TRUSTED_PROXIES"] = "*"

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0 and self.is_idle()


@contextlib.contextmanager
def proxied(side: Behind, folder: Path, ports: dict[str, int]) -> Iterator[int]:
    """The pid of nginx."""
    text = CONFIGURATION.format(
        user="root" if os.geteuid() == 0 else "nobody",
        folder=folder,
        servers=f"server unix:{side.socket} max_fails=0; " * 3,
        shipped=SHIPPED,
        **ports,
    )
    (folder / "nginx.conf").write_text(text)
    with subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]) as nginx:
        try:
            side.wait_until(lambda: all(map(_listens, ports.values())), "nginx")
            yield nginx.pid
        finally:
            nginx.terminate()
            nginx.wait(LIMIT_SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(pid: int) -> float:
    """Of nginx and its one worker."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    files = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in (pid, *children)]
    return sum(int(fields[11]) + int(fields[12]) for fields in files) / os.sysconf("SC_CLK_TCK")


def ask(side: Behind, nginx: int, port: int, clients: int, seconds: int) -> Sample:
    before, cpu, proxy = side.counts(), side.cpu_seconds(), cpu_seconds(nginx)
    printed = _wrk(port, clients, seconds).communicate(timeout=seconds + 30)[0]
    if _failed(printed):
        raise side.failure(f"did not answer all:\n{printed}")
    requests = [
        count.requests - (before[n].requests if n in before else 0) for n, count in side.counts().items()
    ]
    total = sum(requests)
    service, proxy = (side.cpu_seconds() - cpu) / total, (cpu_seconds(nginx) - proxy) / total
    return Sample(service * 1e6, proxy * 1e6, max(requests) / total, _failed_in_a_kill(side, port, clients))


def _failed_in_a_kill(side: Behind, port: int, clients: int) -> int:
    wrk, victim = _wrk(port, clients, 1), random.choice(side.workers())
    time.sleep(0.3)  # amid the second for which wrk asks
    os.kill(victim, signal.SIGKILL)
    printed = wrk.communicate(timeout=30)[0]
    side.wait_until(lambda: victim not in side.workers() and side.is_idle(), "the next worker")
    return _failed(printed)


def _wrk(port: int, clients: int, seconds: int) -> "subprocess.Popen[str]":
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _failed(printed: str) -> int:
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    broken = re.findall(r"(?:connect|read|write|timeout) (\d+)", printed)
    return (int(refused[1]) if refused else 0) + sum(map(int, broken))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare kept connections between nginx and the workers.")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of one measurement (2)")
    parser.add_argument("--clients", type=int, default=32, help="connections to nginx (32)")
    options = parser.parse_args()
    if missing := [program for program in ("nginx", "wrk") if shutil.which(program) is None]:
        sys.exit(f"{missing[0]} is not installed: apt-get install {missing[0]}")
    ports = {"fresh": free_port(), "kept": free_port()}
    samples: dict[str, list[Sample]] = {kind: [] for kind in ports}
    try:
        with tempfile.TemporaryDirectory(prefix="nginx-") as name:
            side = Behind(options.workers, Path(name))
            side.start()
            try:
                side.wait_until(side.answers, "its start")
                with proxied(side, Path(name), ports) as nginx:
                    for _ in range(options.rounds):
                        for kind in random.sample(list(ports), 2):
                            found = ask(side, nginx, ports[kind], options.clients, options.seconds)
                            samples[kind].append(found)
            finally:
                side.end()
    except BenchmarkError as error:
        sys.exit(str(error))
    print("| connections to the workers | service, µs | nginx, µs | largest share | failed in a kill |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind, found in samples.items():
        service, proxy, share = (statistics.median(one[at] for one in found) for at in range(3))
        failed = sum(one.failed for one in found)
        print(f"| {kind} | {service:.0f} | {proxy:.0f} | {share:.2f} | {failed} in {len(found)} |")
    pairs = list(zip(samples["kept"], samples["fresh"], strict=True))
    ratio = statistics.median((a[0] + a[1]) / (b[0] + b[1]) for a, b in pairs)
    print(f"Kept connections cost {ratio:.2f} of the CPU of fresh ones.")


if __name__ == "__main__":
    main()
