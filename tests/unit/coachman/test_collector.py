import socket
from pathlib import Path

from coachman.metrics.scoreboard_collector import listen_queue


def test_connections_that_nobody_has_taken_are_the_listen_queue() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=7) as listener:
        assert listen_queue(listener) == (0, 7)
        with (
            socket.create_connection(listener.getsockname()),
            socket.create_connection(listener.getsockname()),
        ):
            assert listen_queue(listener) == (2, 7)
            listener.accept()[0].close()
            assert listen_queue(listener) == (1, 7)


def test_the_queue_of_a_socket_file_is_not_known(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        assert listen_queue(listener) is None
