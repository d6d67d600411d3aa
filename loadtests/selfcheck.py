"""Checks that this client counts a dropped request, instead of repeating it silently."""

import socket
from typing import Any

from gevent.server import StreamServer
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook

from loadtests.users.strict import ANSWER_SECONDS, kind_of


def require_strict_client() -> None:
    """Ends the program when a GET that got no answer is anything but one failure."""
    requests: list[bytes] = []
    failures: list[str] = []

    def drop(connection: socket.socket, _: Any) -> None:
        requests.append(connection.recv(65536))
        connection.close()

    events = EventHook()
    events.add_listener(lambda exception, **_: failures.append(kind_of(exception)))
    with_server = StreamServer(("127.0.0.1", 0), drop)
    with_server.start()
    try:
        host = f"http://127.0.0.1:{with_server.server_port}"
        session = FastHttpSession(host, events, user=None, concurrency=1, network_timeout=ANSWER_SECONDS)
        session.get("/")
    finally:
        with_server.stop()
    if len(requests) != 1 or failures != ["closed without answer"]:
        raise SystemExit(
            f"This HTTP client hides failures: a server dropped 1 request, saw {len(requests)}, and "
            f"{len([kind for kind in failures if kind])} were counted as failed. Install the versions in "
            "loadtests/requirements.txt."
        )
