"""The application's lifespan: says in one sentence why it failed, and notices when it ends by itself.

Uvicorn's own server goes on serving an application whose lifespan has died, or has never begun.
"""

import asyncio
import copy
import logging
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.lifespan.on import LifespanOn

from coachman.asgi import Application, Message, Receive, Send
from coachman.serving.first_startup import first_alone
from coachman.system.app_loader import enable_own_loggers, logging_kept, text_of

log = logging.getLogger("coachman.serving")

_WRONG_CALL = re.compile(
    r"takes .* positional arguments? but 3 were given|missing \d+ required positional"
    r"|can't be (used in 'await' expression|awaited)"  # it is no async function
)
_NO_LIFESPAN = re.compile(r"generator didn't yield|asynchronous context manager protocol")
_MOST_LEAVES = 3  # of an exception group, in the one sentence
_PYTHONS = (*(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib")), "<frozen ")
_OURS = f"{Path(__file__).parents[1]}/"
_DEEPEST_WRAP = 20  # of middleware around an application


class Lifespan(LifespanOn):
    """Uvicorn's lifespan, which runs the application through a guard. Nothing else goes through it."""

    def __init__(
        self,
        config: uvicorn.Config,
        application: Application,
        has_ended: Callable[[str], None],
        wait_seconds: float = 0,
    ) -> None:
        """`has_ended` is called with the cause when the lifespan ends after the start-up, unasked for.

        `wait_seconds`: for how long the first worker that starts up may keep the others waiting.
        """
        super().__init__(config)
        self._wait_seconds = wait_seconds
        self.config = copy.copy(config)
        must_work = is_starlette(application)
        self.config.loaded_app = _Guard(config.loaded_app, has_ended, must_work=must_work)

    async def startup(self) -> None:
        async with first_alone(self._wait_seconds) as has_succeeded:
            with logging_kept():  # some set up their logging here
                await super().startup()
            if not self.should_exit:
                has_succeeded()


class _Guard:
    """An ASGI application for the lifespan alone."""

    def __init__(
        self, application: Application, has_ended: Callable[[str], None], *, must_work: bool
    ) -> None:
        self._application, self._has_ended, self._must_work = application, has_ended, must_work
        self._is_started = self._has_failed = self._is_stopping = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def guarded_receive() -> Any:
            message = await receive()
            self._must_work = True  # an application that receives a message knows the protocol
            self._is_stopping = message["type"] == "lifespan.shutdown"
            return message

        async def guarded_send(message: Message) -> None:
            self._is_started |= message["type"] == "lifespan.startup.complete"
            if message["type"] == "lifespan.shutdown.failed" and not self._is_stopping:
                return  # it has not been shut down; what it raises says more
            if message["type"].endswith(".failed"):
                self._has_failed = True
                message = {**message, "message": ""}  # Starlette's traceback; the sentence says it
            await send(message)

        try:
            await self._application(scope, guarded_receive, guarded_send)
        except BaseException as error:
            if await self._fails(error, send):
                raise

    async def _fails(self, error: BaseException, send: Send) -> bool:
        """Logs why. Returns whether Uvicorn has to know that the application has no lifespan."""
        enable_own_loggers()
        cause = describe(error)
        if self._is_stopping or self._is_started:
            if self._is_stopping:
                _log_failure(cause, error)
            else:
                self._has_ended(cause)
            return False
        if not self._must_work and not _cannot_be_called(error):
            log.warning("The application is served without its lifespan, which raised: %s", cause)
            return True
        if _cannot_be_called(error):
            cause = f"it cannot be called as ASGI has it, by an await with scope, receive and send: {cause}"
        _log_failure(cause, error)
        if not self._has_failed:
            await send({"type": "lifespan.startup.failed", "message": ""})
        return False


def _cannot_be_called(error: BaseException) -> bool:
    """Whether something did not take ASGI's three arguments: no request would reach it, either.

    What is loaded is looked at before (app_finder.py), but not what middleware stands in front of.
    """
    return isinstance(error, TypeError) and bool(_WRONG_CALL.search(str(error)))


def _log_failure(cause: str, error: BaseException) -> None:
    log.error("The application failed: %s", cause)
    log.debug("COACHMAN_LOG_LEVEL=debug shows it in full:", exc_info=error)


def is_starlette(application: Any) -> bool:
    """Whether it is a Starlette or FastAPI application, or one below middleware that keeps it as `app`."""
    for _ in range(_DEEPEST_WRAP):
        # By name: a tool may have put a class or a function of its own in the place of Starlette's class.
        kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(application).__mro__}
        if "starlette.applications.Starlette" in kinds:
            return True
        application = getattr(application, "app", None)
    return False


def describe(error: BaseException) -> str:
    """What has failed and where, such as "no broker (app/main.py:5)"; of a group the exceptions in it."""
    leaves = list(_leaves(error))
    told = "; ".join(_describe_one(leaf) for leaf in leaves[:_MOST_LEAVES])
    more = len(leaves) - _MOST_LEAVES
    return f"{told}; and {more} more" if more > 0 else told


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _describe_one(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        text = error.code if isinstance(error.code, str) else f"exit with code {error.code or 0}"
    elif isinstance(error, asyncio.CancelledError):
        text = "it was cancelled"
    else:
        text = text_of(error) or type(error).__name__
    place = place_of(traceback.extract_tb(error.__traceback__))
    if place and _is_of_a_package(place.filename) and _NO_LIFESPAN.search(text):
        text += ": a lifespan is an async function with one yield, under contextlib.asynccontextmanager"
    return f"{text} ({place.filename}:{place.lineno})" if place else text


def place_of(frames: Sequence[traceback.FrameSummary]) -> traceback.FrameSummary | None:
    """The innermost frame of the application's own files; of a package's where it has none, never of ours."""
    others = [frame for frame in frames if not frame.filename.startswith(_OURS)]
    own = [frame for frame in others if not _is_of_a_package(frame.filename)]
    return next(reversed(own or others), None)


def _is_of_a_package(filename: str) -> bool:
    is_installed = "/site-packages/" in filename or "/dist-packages/" in filename
    return is_installed or filename.startswith(_PYTHONS)
