import socket
from pathlib import Path

from coachman.metrics.scoreboard_collector import ScoreboardCollector, listen_queue
from coachman.ops.snapshot import Snapshots
from coachman.state.scoreboard import Scoreboard


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


def test_a_listener_of_ipv6_is_written_in_brackets(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        address = f"[::1]:{listener.getsockname()[1]}"
        told = list(ScoreboardCollector(Scoreboard.create(), [listener], tmp_path).collect())
        snapshot = Snapshots(Scoreboard.create(), tmp_path, public=[listener]).take()

    labels = {sample.labels.get("listener") for metric in told for sample in metric.samples} - {None}
    assert labels == {queue["listener"] for queue in snapshot["queues"]} == {address}


def test_the_queue_of_a_socket_file_is_not_known(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        assert listen_queue(listener) is None
