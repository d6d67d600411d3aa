"""Tasks that run as long as a worker serves."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from coachman.serving.server import Server

log = logging.getLogger("gunicorn.error")


def start(name: str, work: Coroutine[Any, Any, None], server: Server) -> "asyncio.Task[None]":
    """Starts a task without which the worker must not serve on, and drains the worker if the task fails.

    Nobody awaits such a task, so its failure would be told to nobody, and the worker would stay ready without
    deadlines or without a heartbeat. A master replaces the worker.
    """

    def notice(task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            log.error("The task %s has ended, so the worker drains", name, exc_info=task.exception())
            server.stop()

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(notice)
    return task
