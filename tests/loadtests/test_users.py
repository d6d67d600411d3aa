"""The users count what happens, and nothing else."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from loadtests.load import Load, LoadError
from tests.loadtests.servers import ANSWER, serving
from tests.support.ports import free_port
from tests.support.service import REPOSITORY, Service, running, wait_until

LOCUST = [str(Path(sys.executable).with_name("locust")), "-f", "loadtests/locustfile.py"]
# For so long that a busy machine gets to each kind of request, and no more of them than that takes.
ASKED = ["-u", "8", "-r", "8", "-t", "8s", "--arrivals", "40"]


def test_each_dropped_get_is_one_failure_and_is_not_sent_again() -> None:
    with (
        serving(lambda number: ANSWER if number % 3 else b"") as server,
        Load("wait-async", server.url, users=4) as load,
    ):
        load.begin()
        assert wait_until(lambda: load.progress["requests"] > 300)
        outcome = load.end()

    assert outcome.unfinished == 0
    assert len(outcome.samples) == server.requests
    assert outcome.samples.failures == {"closed without answer": server.requests // 3}
    assert len(outcome.samples.answered) == server.requests - server.requests // 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ANSWER.replace(b"waited", b"wasted"), "wrong body"),
        (ANSWER.replace(b"200 OK", b"503 Busy"), "http 503"),
        (ANSWER[:-3], "wrong body"),  # Locust takes what has come of a body for the whole
        (b"SSH-2.0-none\r\n" * 9, "garbled"),
    ],
)
def test_a_bad_answer_is_a_failure_of_its_own_kind(answer: bytes, kind: str) -> None:
    with serving(lambda number: answer) as server, Load("wait-async", server.url, users=2) as load:
        load.begin()
        assert wait_until(lambda: load.progress["failures"] > 20)
        outcome = load.end()

    assert outcome.unfinished <= 2, "one of each user, at the end"
    assert outcome.samples.failures == {kind: server.requests - outcome.unfinished}


def test_a_client_that_repeats_in_silence_is_refused() -> None:
    spoil = "import geventhttpclient.client as c; c.IDEMPOTENT_METHODS = {'GET'}"
    program = (
        "import loadtests.users\n"
        f"{spoil}\n"
        "from loadtests.selfcheck import require_strict_client\n"
        "require_strict_client()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 1
    assert done.stderr.startswith("This HTTP client hides failures: a server dropped 1 request, saw ")


@pytest.mark.timing
def test_latency_in_an_open_loop_counts_from_the_schedule() -> None:
    """The third answer comes a second late, and all that fell due behind it say so."""

    def freeze(number: int) -> bytes:
        if number == 100:
            with server.lock:
                time.sleep(1)
        return ANSWER

    with serving(freeze) as server, Load("wait-async", server.url, users=50, rate=100, seed=1) as load:
        begun = load.begin()
        assert wait_until(lambda: load.progress["requests"] > 590)
        outcome = load.end()

    samples = outcome.samples.between(begun, begun + 6, by="due")
    late = np.mean(samples.latency_ms() > 100)
    assert 0.9 <= len(samples) / 600 <= 1.1
    assert 0.10 <= late <= 0.25, f"{late:.1%} of the requests were late"
    assert outcome.undone == 0


def test_a_host_that_is_no_shop_ends_in_one_sentence() -> None:
    expected = pytest.raises(LoadError, match=r"does not answer as the stock-keeping application does")

    with Load("reader", f"http://127.0.0.1:{free_port()}", users=1) as load, expected:
        load.begin()


def test_locust_runs_the_locustfile_alone_and_distributed(tmp_path: Path) -> None:
    service = Service(tmp_path, COACHMAN_WORKERS="2")
    service.migrate()
    with running(service):
        with Load("reader", service.url, users=1) as load:  # makes the items, however slow the machine is
            load.begin()
            load.end()
        alone = _locust("--headless", "--host", service.url, *ASKED)
        port = str(free_port())
        master = subprocess.Popen(
            [*LOCUST, "--headless", "--host", service.url, *ASKED, "--master",
             "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", "1"],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            worker = _locust("--worker", "--master-host", "127.0.0.1", "--master-port", port, *ASKED[-2:])
            report, _ = master.communicate(timeout=300)
        finally:
            master.kill()
            master.wait()

    for output, code in ((alone.stdout, alone.returncode), (report, master.returncode)):
        assert code == 0, output
        assert "/items/[id]/movements" in output
        assert "/items/[id]/label.svg" in output
        assert "Error report" not in output
    assert worker.returncode == 0, worker.stdout


def _locust(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LOCUST, *arguments],
        cwd=REPOSITORY,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
