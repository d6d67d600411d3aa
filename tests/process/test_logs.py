"""One form for the lines of everybody, and one name for a request in all of its lines."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

from tests.support import web
from tests.support.foreground import MAIN, Foreground
from tests.support.load import Load
from tests.support.service import Service, running, wait_until


def talking(folder: Path, **settings: str) -> Service:
    told = {"COACHMAN_LOG_FORMAT": "auto", "COACHMAN_ACCESS_LOG": "on", "COACHMAN_WORKERS": "2"} | settings
    return Service(folder, app="talks", **told)


def lines(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log().splitlines()]


def access_lines(service: Service) -> list[dict[str, Any]]:
    """In their order: each worker writes its own ten times a second."""
    told = [line for line in lines(service) if line["logger"] == "coachman.access"]
    return sorted(told, key=lambda line: line["time"])


def test_every_line_of_a_services_life_is_json_that_says_where_it_comes_from(tmp_path: Path) -> None:
    service = talking(tmp_path)
    with running(service):
        service.wait_settled()
        victim = min(service.worker_pids())
        os.kill(victim, signal.SIGKILL)
        # A stop before the master has reaped it would count it among those that were told to end.
        assert wait_until(lambda: len(service.worker_pids() - {victim}) == 2), service.log()
        web.get(f"{service.url}/crash/x")
        service.process.send_signal(signal.SIGHUP)
        service.process.send_signal(signal.SIGTERM)
        assert service.wait_end() == 0, service.log()
    said = lines(service)

    assert all(line["release"] == Path.cwd().name and isinstance(line["pid"], int) for line in said)
    from_workers = [line for line in said if "slot" in line]
    assert {line["slot"] for line in from_workers} == {0, 1}
    assert {line["generation"] for line in from_workers} == {1}
    assert {"gunicorn.error", "uvicorn.error", "coachman.access"} <= {line["logger"] for line in said}
    [killed] = [line for line in said if "killed by SIGKILL" in line["message"]]
    assert (killed["level"], killed["event"], killed["pid"]) == ("error", "crashed", service.process.pid)
    assert killed["slot"] in (0, 1)
    [crashed] = [line for line in said if "exception" in line]
    assert crashed["exception"].endswith("RuntimeError: x")


def test_all_lines_of_a_request_carry_the_id_that_its_answer_carries(tmp_path: Path) -> None:
    service = talking(tmp_path)

    async def ask() -> dict[str, str]:
        """The id of each answer, by the word that its request had the application log."""
        async with web.AsyncClient(base_url=service.url) as client:
            paths = [f"/{kind}/{kind}{n}" for n in range(10) for kind in ("async", "thread", "crash")]
            answers = await asyncio.gather(*(client.get(path) for path in paths))
            kept = await client.get("/async/kept", headers={"X-Request-ID": "from-the-proxy"})
            assert kept.headers["X-Request-ID"] == "from-the-proxy"
            return {
                path.rpartition("/")[2]: answer.headers["X-Request-ID"]
                for path, answer in zip(paths, answers, strict=True)
            }

    with running(service):
        ids = asyncio.run(ask())
    said = lines(service)

    assert len(set(ids.values())) == 30
    for word, identifier in ids.items():
        own = [line for line in said if line.get("request_id") == identifier]
        loggers = [line["logger"] for line in own]
        expected = {"async": ["shop", "shop"], "thread": ["shop"], "crash": ["uvicorn.error"]}
        assert sorted(loggers) == sorted(["coachman.access", *expected[word.rstrip("0123456789")]]), own
        assert all(word in line["message"] + line.get("exception", "") for line in own if "route" not in line)
    assert [line["request_id"] for line in said if line["message"].endswith("kept")] == ["from-the-proxy"] * 2
    assert not any("request_id" in line for line in said if "ready" in line["message"])


def test_an_access_line_has_the_route_and_none_of_the_clients_words(tmp_path: Path) -> None:
    service = talking(tmp_path)
    with running(service):
        answer = web.get(f"{service.url}/async/secret?token=secret", headers={"Authorization": "secret"})
        web.post(f"{service.url}/secret", content="secret")
    told, unmatched = access_lines(service)

    assert (told["method"], told["route"], told["status"]) == ("GET", "/async/{name}", 200)
    assert told["bytes"] == len(answer.content)
    assert 0 < told["duration"] < 30
    assert unmatched["route"] == "unmatched"
    assert "secret" not in json.dumps([told, unmatched])


def test_only_slow_and_failed_requests_are_told_unless_asked_for_more(tmp_path: Path) -> None:
    service = talking(tmp_path, COACHMAN_ACCESS_LOG="slow", COACHMAN_SLOW_SECONDS="4")
    with running(service):
        for path in ("async/x", "slow/4.1", "crash/x", "nothing"):
            web.get(f"{service.url}/{path}")

    assert [(line["route"], line["status"]) for line in access_lines(service)] == [
        ("/slow/{seconds}", 200),
        ("/crash/{name}", 500),
    ]


def test_a_terminal_gets_text(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    service = talking(tmp_path, COACHMAN_WORKERS="1")
    service.output = terminal
    with running(service):
        web.get(f"{service.url}/thread/x", headers={"X-Request-ID": "one"})
        os.set_blocking(master, False)
        text = ""

        def is_told() -> bool:
            nonlocal text
            try:
                text += os.read(master, 65536).decode()
            except BlockingIOError:
                return False
            return "bytes [one]" in text

        assert wait_until(is_told), text
    os.close(terminal)
    os.close(master)
    assert re.search(r"^\[[\d: +-]+\] \[\d+\] \[INFO\] shop: thread x \[one\]\r$", text, re.MULTILINE), text


def test_a_log_that_nobody_reads_holds_up_no_request_and_is_counted(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    service = talking(tmp_path)
    service.output = writer
    with running(service):
        with Load(service.port, "/async/x", clients=4) as load:
            assert wait_until(lambda: service.report()["log_lines_dropped"] > 100)
        told = web.get(f"{service.ops_url}/metrics").text
    os.close(reader)
    os.close(writer)

    assert set(load.outcomes) == {"success"}, load.outcomes
    assert float(re.findall(r"^coachman_log_lines_dropped_total (.*)$", told, re.MULTILINE)[0]) > 0


CONFIGURES = """
    import logging, sys
    logging.basicConfig(level=logging.DEBUG, format="MINE %(name)s %(message)s")
    own = logging.getLogger("own")
    own.addHandler(logging.StreamHandler())
    own.handlers[0].setFormatter(logging.Formatter("OWN %(message)s"))
"""


def test_an_application_configures_its_logging_as_under_uvicorn_and_coachmans_level_is_its_own(
    tmp_path: Path,
) -> None:
    main = CONFIGURES + MAIN.replace(
        "def hello():",
        "def hello():\n        logging.getLogger('shop').debug('hello')\n        own.debug('hello')",
    )
    arguments = ("-w", "1", "--log-level", "debug", "--access-log")
    with running(Foreground(tmp_path, *arguments, **{"main.py": main})) as service:
        assert web.get(service.url).status_code == 200
        assert wait_until(lambda: "GET / 200" in service.log()), service.log()
    log = service.log()

    assert [line for line in log.splitlines() if "hello" in line] == [
        "MINE shop hello",
        "OWN hello",
        "MINE own hello",
    ]
    assert "Worker in slot 0 is ready" in log
    assert "Current configuration" not in log
