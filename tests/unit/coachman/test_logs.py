import json
import logging
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from time import time as now

import pytest

from coachman.logs import formatters, request_id
from coachman.logs.formatters import FIELDS, JsonFormatter, TextFormatter, readable
from coachman.logs.gunicorn_logger import attach
from coachman.serving.requests.access_log import AccessLog


def record(message: str, *arguments: object, level: int = logging.INFO, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("shop.stock", level, __file__, 1, message, arguments, None)
    made.__dict__.update(more)
    return made


@pytest.fixture
def identified() -> object:
    token = request_id.current.set("abc-1")
    yield
    request_id.current.reset(token)


def test_a_json_line_has_what_a_search_needs(identified: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatters, "_process", {"pid": 0})
    monkeypatch.setattr(formatters, "_encoded_process", "")
    formatters.identify(release="r7", generation=3, slot=1)
    line = json.loads(JsonFormatter().format(record("%s sold", "Tee", level=logging.WARNING)))

    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "shop.stock",
        "message": "Tee sold",
        "release": "r7",
        "generation": 3,
        "slot": 1,
        "pid": os.getpid(),
        "request_id": "abc-1",
    }


def test_whatever_a_record_holds_stays_one_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        failed = record("a\nb \u2028 \x1b[31m %s", object(), exc_info=sys.exc_info())
    text = JsonFormatter().format(failed)

    assert len(text.split("\n")) == 1
    assert "\x1b" not in text
    assert json.loads(text)["exception"].startswith("Traceback")
    assert "ValueError: first\nsecond" in json.loads(text)["exception"]


def test_text_is_gunicorns_with_the_foreign_loggers_name_and_the_requests_id(identified: object) -> None:
    text = TextFormatter().format(record("Tea sold"))

    assert text.endswith(f"[{os.getpid()}] [INFO] shop.stock: Tea sold [abc-1]")


def test_the_journal_is_told_the_priority(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    said = [JsonFormatter().format(record("", level=level))[:3] for level in (10, 20, 30, 40, 50)]
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")

    assert said == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert JsonFormatter().format(record("")).startswith("{")


@pytest.mark.parametrize("line", ["plain", "{", "[1]", '{"level": 1}', '{"other": "json"}', "x {}"])
def test_a_line_of_another_form_is_left_as_it_is(line: str) -> None:
    assert readable(line) == line


def test_a_json_line_is_readable() -> None:
    assert readable("<3>" + JsonFormatter().format(record("gone", level=40))) == "[ERROR] gone"


@pytest.mark.parametrize(("mode", "told"), [("on", ["fast", "slow", "failed"]), ("slow", ["slow", "failed"])])
def test_the_access_log_tells_what_it_is_asked_to(
    mode: str, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    access = AccessLog(mode, slow_seconds=0.5)
    with caplog.at_level(logging.INFO, "coachman.access"):
        access.log("GET", "fast", 404, 0.1, 10)
        access.log("GET", "slow", 200, 0.5, 10)
        access.log("GET", "failed", 500, 0.1, 10)

    assert [getattr(record, FIELDS)["route"] for record in caplog.records] == told


ACCESS = """
import logging, sys
from coachman.logs import request_id
from coachman.logs.formatters import JsonFormatter
from coachman.serving.requests.access_log import AccessLog
from coachman.system import stdio
stdio.make_nonblocking()
handler = logging.StreamHandler(sys.stderr)
handler.setFormatter(JsonFormatter())
root, access = logging.getLogger(), logging.getLogger("coachman.access")
access.setLevel(logging.INFO)
(root if sys.argv[1] == "at once" else access).addHandler(handler)
request_id.current.set("abc-1")
log = AccessLog("on", 1.0)
assert (log._lines is None) == (sys.argv[1] == "through logging")
log.log("GET", '/i"tems/\u00fc', 200, 0.1234567, 12)
request_id.current.set("of another request")
log.flush()
"""


@pytest.mark.parametrize("way", ["at once", "through logging"])
def test_an_access_line_is_the_same_whichever_way_it_goes(way: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", ACCESS, way], capture_output=True, text=True, timeout=120, check=True
    )
    line = json.loads(said.stderr)

    assert abs(datetime.fromisoformat(line.pop("time")).timestamp() - now()) < 30
    assert isinstance(line.pop("pid"), int)
    assert line == {
        "level": "info",
        "logger": "coachman.access",
        "message": 'GET /i"tems/ü 200 in 0.123 s, 12 bytes',
        "release": Path.cwd().name,
        "request_id": "abc-1",
        "method": "GET",
        "route": '/i"tems/ü',
        "status": 200,
        "duration": 0.123457,
        "bytes": 12,
    }


def test_coachmans_loggers_write_where_gunicorns_error_log_does_unless_they_have_own_handlers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, gunicorns = logging.getLogger("coachman"), logging.Logger("gunicorn.error", logging.DEBUG)
    gunicorns.addHandler(logging.NullHandler())
    for name, value in (("handlers", []), ("propagate", True), ("level", ours.level)):
        monkeypatch.setattr(ours, name, value)

    attach(gunicorns)
    assert (ours.handlers, ours.propagate, ours.level) == (gunicorns.handlers, False, logging.DEBUG)
    own = [logging.NullHandler()]
    ours.handlers, ours.propagate = own, True
    attach(gunicorns)
    assert (ours.handlers, ours.propagate) == (own, True)
