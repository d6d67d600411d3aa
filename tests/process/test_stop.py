"""What an application does with signals and threads does not keep its worker from draining."""

import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support import web
from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.foreground import MAIN, Foreground
from tests.support.service import running, wait_until

LIKE_SSE_STARLETTE = (
    """
    import asyncio, uvicorn

    class Status:
        should_exit = False
        handle_exit = uvicorn.Server.handle_exit

    def handle_exit(*arguments):
        Status.should_exit = True
        Status.handle_exit(*arguments)

    uvicorn.Server.handle_exit = handle_exit
"""
    + MAIN
    + """
    from fastapi.responses import StreamingResponse

    @app.get("/events")
    async def events():
        async def numbers():
            while not Status.should_exit:
                yield "data: x\\n\\n"
                await asyncio.sleep(0.05)
        return StreamingResponse(numbers())
"""
)
REPLACES = (
    MAIN
    + """
    import asyncio, signal

    @app.get("/replace")
    async def replace():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
"""
)
KEEPS = (
    MAIN
    + """
    import threading, time

    @app.get("/keep")
    async def keep():
        threading.Thread(target=time.sleep, args=(3600,), name="my-consumer").start()
"""
)


def stop(service: Foreground) -> None:
    service.process.send_signal(signal.SIGTERM)
    assert service.wait_end() == 0, service.log()


def test_streams_that_look_for_uvicorns_stop_end_with_it(tmp_path: Path) -> None:
    # A drain that cuts what is still open would come too late for `stop`.
    arguments = ("-w", "1", "--drain-seconds", "600")
    with running(Foreground(tmp_path, *arguments, **{"main.py": LIKE_SSE_STARLETTE})) as service:
        received: list[bytes] = []

        def read() -> None:
            with web.stream("GET", f"{service.url}/events") as answer:
                received.extend(answer.iter_bytes())

        reader = threading.Thread(target=read)
        reader.start()
        assert wait_until(lambda: bool(received)), service.log()

        stop(service)
        reader.join(PATIENCE_SECONDS)
        assert not reader.is_alive()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_worker_whose_handler_of_sigterm_was_replaced_drains_all_the_same(
    tmp_path: Path, loop: str
) -> None:
    with running(Foreground(tmp_path, "-w", "1", "--loop", loop, **{"main.py": REPLACES})) as service:
        assert web.get(f"{service.url}/replace").status_code == 200
        time.sleep(2)  # two looks at it

        stop(service)
    assert "Worker in slot 0 drains" in service.log()
    assert "SIGKILL" not in service.log()


def test_a_worker_that_a_thread_keeps_alive_says_which_and_ends(tmp_path: Path) -> None:
    with running(Foreground(tmp_path, "-w", "1", **{"main.py": KEEPS})) as service:
        assert web.get(f"{service.url}/keep").status_code == 200

        stop(service)
    assert (
        "The application has not ended its thread my-consumer; its process ends without it" in service.log()
    )
    assert "SIGKILL" not in service.log()


SILENCES = (
    """
    import logging.config
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(app):
        logging.config.dictConfig({"version": 1})
        if os.path.exists("broken"):
            raise RuntimeError("no broker")
        yield
"""
    + MAIN
).replace("app = FastAPI()", "app = FastAPI(lifespan=lifespan)")


def test_an_application_that_sets_up_its_logging_in_the_lifespan_silences_nobody(tmp_path: Path) -> None:
    service = Foreground(tmp_path, "-w", "1", **{"main.py": SILENCES})
    with running(service):
        stop(service)
    assert "Worker in slot 0 is ready" in service.log()
    assert "Worker in slot 0 drains" in service.log()

    (service.folder / "broken").touch()
    with running(service, ready=False):
        assert service.wait_end() == 3
    assert "The application failed: no broker" in service.log()
