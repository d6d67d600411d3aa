"""`coachman run` in somebody else's project: what it finds and refuses, and that it is the whole product."""

import os
import signal
import socket
import textwrap
from pathlib import Path

import pytest

from tests.support import web
from tests.support.foreground import MAIN, Foreground
from tests.support.service import running, wait_until

FACTORY = MAIN.replace(
    "    app = FastAPI()", "    def create_app():\n        return app\n\n    app = FastAPI()"
)
WSGI = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n"


def test_a_folder_with_nothing_but_a_main_py_is_served_with_all_that_follows(tmp_path: Path) -> None:
    with running(Foreground(tmp_path, "--workers", "2")) as service:
        assert service.worker_pids() == {slot["pid"] for slot in service.slots()}
        log = service.log()
        assert "serves main:app\n" in log
        assert f"application       {service.url}\n" in log
        assert f"interactive docs  {service.url}/docs\n" in log
        assert f"status page       {service.ops_url}/" in log
        assert "2 workers (COACHMAN_WORKERS)" in log

        service.wait_settled()
        killed = min(service.worker_pids())
        os.kill(killed, signal.SIGKILL)
        assert wait_until(lambda: killed not in service.worker_pids() and len(service.worker_pids()) == 2)

        service.wait_settled()
        done = service.ask("handover")
        assert "Generation 2 serves" in done.stdout, done.stderr + service.log()
        assert web.get(service.url).status_code == 200
    assert (service.folder / "var/run/.gitignore").read_text() == "*\n"


def test_an_application_of_a_class_that_a_tool_has_replaced_is_checked_compiled_and_served(
    tmp_path: Path,
) -> None:
    tool = "import fastapi\noriginal = fastapi.FastAPI\nfastapi.FastAPI = lambda **given: original(**given)\n"
    with running(
        Foreground(
            tmp_path, "-w", "1", **{"main.py": f"import tool\n{textwrap.dedent(MAIN)}", "tool.py": tool}
        )
    ) as service:
        assert "pid" in web.get(service.url).json()
        checked = service.ask("check")

    assert checked.returncode == 0, checked.stderr
    assert "1 of 1 routes of FastAPI's are compiled" in checked.stdout
    assert "Traceback" not in checked.stderr + service.log()


def test_ctrl_c_ends_it_with_exit_code_0(tmp_path: Path) -> None:
    with running(Foreground(tmp_path, "-w", "1")) as service:
        os.killpg(service.process.pid, signal.SIGINT)

        assert service.wait_end() == 0
    assert "Traceback" not in service.log()


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["main:create_app()"], {"main.py": FACTORY}),
        (["--app-dir", "src"], {"src/main.py": MAIN}),
        ([], {"shop/web.py": MAIN, "pyproject.toml": "[tool.fastapi]\nentrypoint = 'shop.web:app'\n"}),
        ([], {"other.py": FACTORY, "gunicorn.conf.py": "wsgi_app = 'other:create_app()'\nworkers = 1\n"}),
    ],
)
def test_the_application_is_found_however_it_is_named_also_by_the_next_generation(
    tmp_path: Path, arguments: list[str], files: dict[str, str]
) -> None:
    with running(Foreground(tmp_path, *arguments, "--workers", "1", **files)) as service:
        assert web.get(service.url).status_code == 200

        done = service.ask("handover")
        assert "Generation 2 serves" in done.stdout, done.stderr + service.log()
        assert web.get(service.url).status_code == 200


def refused(service: Foreground) -> str:
    with running(service, ready=False):
        code = service.wait_end()
    assert code == 1, service.log()
    assert "coachman/" not in service.log(), f"a traceback of ours\n{service.log()}"
    return service.log()


@pytest.mark.parametrize(
    ("arguments", "files", "sentence"),
    [
        ([], {"other.py": MAIN}, "none of main.py, app.py"),
        (["main:app"], {"main.py": WSGI}, "takes two arguments, as a WSGI application does"),
        (["main:FastAPI"], {"main.py": MAIN}, "FastAPI in main is a class; name an instance of it"),
        (["--workers", "0"], {"main.py": MAIN}, "--workers=0 is refused: it must be a whole number from 1"),
        (["--log-level", "loud"], {"main.py": MAIN}, "--log-level=loud is refused: it must be debug,"),
        ([], {"main.py": MAIN, "gunicorn.conf.py": "workers = two"}, "gunicorn.conf.py failed: NameError"),
        ([], {"main.py": MAIN, "resource.py": "x = 1"}, "/resource.py hides the module of that name that"),
        (
            [],
            {"main.py": MAIN, "gunicorn.conf.py": "workers = 'two'"},
            "gunicorn.conf.py: workers=two is refus",
        ),
    ],
)
def test_a_mistake_ends_in_one_sentence(
    tmp_path: Path, arguments: list[str], files: dict[str, str], sentence: str
) -> None:
    assert sentence in refused(Foreground(tmp_path, *arguments, **files))


def test_a_taken_port_is_refused_by_run_and_check(tmp_path: Path) -> None:
    service = Foreground(tmp_path)
    with socket.create_server(("127.0.0.1", service.port)):
        sentence = f"Cannot listen on 127.0.0.1:{service.port}: address already in use."

        assert sentence in refused(service)
        assert sentence in service.ask("check", "--port", str(service.port)).stderr
        ops = ["--ops-bind", f"127.0.0.1:{service.port}"]
        done = service.ask("check", "--port", str(service.ops_port), *ops)
        assert f"{sentence} Set COACHMAN_OPS_BIND" in done.stderr, done.stderr


def test_an_ops_port_that_nobody_chose_moves_on_and_says_so(tmp_path: Path) -> None:
    service = Foreground(tmp_path, "-w", "1")
    service.own_addresses = ["--port", str(service.port)]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 9100))
            other.listen()
        except OSError:
            pass  # taken by another service: as good
        with running(service, ready=False):
            said = "127.0.0.1:9100 is in use: the status page is on 127.0.0.1:9"
            assert wait_until(lambda: said in service.log()), service.log()
            assert wait_until(lambda: web.get(service.url).status_code == 200), service.log()
            done = service.ask("handover")
            assert "Generation 2 serves" in done.stdout, done.stderr + service.log()


PROBED = (
    MAIN
    + """
    from fastapi import Response
    from pathlib import Path

    @app.get("/health")
    def health():
        return Response(status_code=int(Path("status").read_text()))
"""
)


def test_a_generation_that_does_not_answer_its_probe_is_refused(tmp_path: Path) -> None:
    service = Foreground(tmp_path, "-w", "2", "--probe", "/health", **{"main.py": PROBED, "status": "204"})
    with running(service):
        (service.folder / "status").write_text("503")
        done = service.ask("handover")

        assert done.returncode == 1, service.log()
        assert "The application failed its probe (COACHMAN_PROBE): it answered GET /health with 503" in (
            done.stderr + service.log()
        )
        assert web.get(service.url).status_code == 200


def test_middleware_around_a_factory_is_refused_instead_of_answering_500_to_everything(
    tmp_path: Path,
) -> None:
    main = MAIN.replace(
        "app = FastAPI()", "from starlette.middleware.cors import CORSMiddleware\n    app = FastAPI()"
    )
    main += "\n    def create_app():\n        return app\n\n    broken = CORSMiddleware(create_app)\n"
    service = Foreground(tmp_path, "main:broken", **{"main.py": main})
    with running(service, ready=False):
        assert service.wait_end() == 1, service.log()
    assert "broken in main hands its requests to what is a function without arguments" in service.log()


MADE_AT_IMPORT = MAIN.replace('{"pid": os.getpid()}', '{"pid": os.getpid(), "loaded_in": LOADED_IN}').replace(
    "app = FastAPI()", "app = FastAPI()\n    LOADED_IN = os.getpid()"
)
MAKING = (
    MADE_AT_IMPORT
    + """
    import subprocess, threading
    threading.Thread(target=lambda: None, name="made-at-import").start()
    subprocess.Popen(["sleep", "60"])
    threading.Thread(target=threading.Event().wait, name="my-scheduler").start()
"""
)


def test_what_workers_cannot_share_is_loaded_in_each_and_told_in_one_line(tmp_path: Path) -> None:
    service = Foreground(tmp_path, "-w", "2", **{"main.py": MAKING})
    with running(service):
        line = next(line for line in service.log().splitlines() if "made at import" in line)
        assert "the thread my-scheduler, which no worker will have; the process" in line
        assert "So each worker loads it itself, and a replacement takes as long as the import" in line
        assert service.log().count("made at import") == 1
        answer = web.get(service.url).json()
        assert answer["loaded_in"] == answer["pid"]
        assert f"master pid {service.process.pid}" in service.log(), "it has started again as another process"
        assert set(children(service.process.pid)) == service.worker_pids(), (
            "the first import has left a child"
        )

        checked = service.ask("check").stdout
        assert "Made at import: the thread my-scheduler, which no worker will have\n" in checked
        assert "So each worker will load the application itself" in checked

        service.wait_settled()
        done = service.ask("handover")
        assert "Generation 2 serves" in done.stdout, done.stderr + service.log()
        assert service.log().count("made at import") == 2
        answer = web.get(service.url).json()
        assert answer["loaded_in"] == answer["pid"]

        (service.folder / "main.py").write_text(textwrap.dedent(MADE_AT_IMPORT))

        def has_handed_over() -> bool:  # not while the generation before drains
            return "Generation 3 serves" in service.ask("handover").stdout

        assert wait_until(has_handed_over), service.log()
        assert service.log().count("made at import") == 2, "a release that has been mended is preloaded"
        answer = web.get(service.url).json()
        assert answer["loaded_in"] != answer["pid"]


def test_preload_that_was_asked_for_is_kept_and_what_it_breaks_is_named(tmp_path: Path) -> None:
    with running(Foreground(tmp_path, "-w", "1", "--preload", **{"main.py": MAKING})) as service:
        answer = web.get(service.url).json()
        assert answer["loaded_in"] == service.process.pid
        assert "set COACHMAN_PRELOAD=auto." in service.log()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_workers_that_share_an_import_have_random_numbers_of_their_own(tmp_path: Path) -> None:
    main = "import random, uuid\nimport numpy\n" + textwrap.dedent(MAIN).replace(
        '{"pid": os.getpid()}', '{"pid": os.getpid(), "numbers": NUMBERS}'
    )
    main += "\nNUMBERS = []\n\n@app.on_event('startup')\ndef draw():\n"
    main += "    NUMBERS[:] = [random.random(), str(uuid.uuid4()), float(numpy.random.rand())]\n"
    with running(Foreground(tmp_path, "-w", "2", "--preload", **{"main.py": main})) as service:
        found: dict[int, tuple[object, ...]] = {}

        def both_have_answered() -> bool:
            answer = web.get(service.url).json()
            found[answer["pid"]] = tuple(answer["numbers"])
            return len(found) == 2

        assert wait_until(both_have_answered), found
    first, second = found.values()
    assert all(one != other for one, other in zip(first, second, strict=True)), found


def test_without_preload_the_application_is_loaded_in_each_worker_and_all_else_holds(tmp_path: Path) -> None:
    main = (
        MAIN
        + "\n    import threading\n    threading.Thread(target=lambda: None, name='made-at-import').start()\n"
    )
    main = main.replace('{"pid": os.getpid()}', '{"pid": os.getpid(), "loaded_in": LOADED_IN}')
    main = main.replace("app = FastAPI()", "app = FastAPI()\n    LOADED_IN = os.getpid()")
    with running(Foreground(tmp_path, "-w", "2", "--no-preload", **{"main.py": main})) as service:
        answer = web.get(service.url).json()
        assert answer["loaded_in"] == answer["pid"]

        service.wait_settled()
        killed = min(service.worker_pids())
        os.kill(killed, signal.SIGKILL)
        assert wait_until(lambda: len(service.worker_pids() - {killed}) == 2), service.log()

        service.wait_settled()
        (service.folder / "main.py").write_text("raise RuntimeError('half written')\n")
        done = service.ask("handover")
        assert "importing main failed: RuntimeError: half written" in done.stderr, service.log()
        assert len(service.worker_pids()) == 2
    assert "made at import" not in service.log()


def test_without_preload_a_worker_that_cannot_load_the_application_says_why(tmp_path: Path) -> None:
    service = Foreground(tmp_path, "main:nope", "-w", "1", "--no-preload")
    with running(service, ready=False):
        assert service.wait_end() == 3, service.log()
    assert (
        "COACHMAN_APP=main:nope: main has no application named nope; it has app: name main:app."
        in service.log()
    )


def test_values_of_a_gunicorn_conf_py_hold_and_its_hooks_run_after_ours(tmp_path: Path) -> None:
    config = """
        workers = 3
        worker_class = "uvicorn.workers.UvicornWorker"
        proc_name = "shop"

        def when_ready(server):
            print("theirs: when_ready", flush=True)

        def post_fork(server, worker):
            print("theirs: post_fork", worker.context is not None, flush=True)
    """
    files = {"main.py": MAIN, "gunicorn.conf.py": config}
    with running(Foreground(tmp_path, **files)) as service:
        assert len(service.worker_pids()) == 3
        assert "gunicorn.conf.py: worker_class not used here" in service.log()
        assert "theirs: when_ready" in service.log()
        assert service.log().count("theirs: post_fork True") == 3
