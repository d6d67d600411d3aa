"""Gunicorn's hooks, through which Coachman enters the master. Each says in which process it runs."""

import contextlib
import functools
import gc
import importlib
import os
from collections.abc import Sequence
from typing import Any

import uvicorn
from gunicorn.arbiter import Arbiter

from coachman.compiler.loading import announce as announce_compiled
from coachman.compiler.loading import compile_loaded
from coachman.logs import formatters, last_words
from coachman.master import gunicorn_options, preload, reexec, restart_policy
from coachman.master.announcement import Start, announce
from coachman.master.counts import Counts
from coachman.master.reexec import ReexecContext
from coachman.master.supervisor import Supervisor, SupervisorContext
from coachman.master.takeover import Takeover
from coachman.master.tls_options import tls_of
from coachman.metrics import store
from coachman.metrics.counters import Metrics
from coachman.metrics.store import Store
from coachman.serving.serve import uvicorn_options
from coachman.settings import ServerSettings, load_settings, misspelled_settings
from coachman.state import runtime_dir
from coachman.system import app_facts, app_finder, app_loader, sockets
from coachman.system.environment_names import EXPOSED, GUNICORN_PID, LISTEN_FDNAMES, WORKER_COUNT
from coachman.system.event_loop import loop_factory
from coachman.system.sd_notify import Notifier, take_notifier
from coachman.worker import Worker, WorkerContext

_TELEMETRY = (  # what FastAPI imports in the lifespan: some tenths of a second, after each fork
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._logs.export",
    "opentelemetry.sdk.metrics.export",
    "opentelemetry.sdk.trace.export",
)


class Hooks:
    """Gunicorn's hooks, bound to the settings and sockets of this master."""

    NAMES = ("on_starting", "when_ready", "pre_fork", "post_fork", "pre_exec", "on_exit")

    def __init__(
        self,
        settings: ServerSettings,
        counts_in: Store | None,
        systemd: Notifier,
        made_at_import: Sequence[str],
    ) -> None:
        """`counts_in` is where metrics are counted, None where they are switched off.

        `made_at_import` is known from an earlier load of the application: see master/preload.py.
        """
        self._settings, self._store, self._systemd, self._made = settings, counts_in, systemd, made_at_import
        self._metrics: Metrics | None = None

    def on_starting(self, server: Any) -> None:
        """Runs in the master, before it listens. Until here it is Gunicorn's own arbiter."""
        settings = self._settings
        if settings.preload is None and not self._made:
            preload.start_again_if_needed(server, app_loader.loaded.made_at_import)
        names = os.environ.get(LISTEN_FDNAMES, "") if sockets.are_inherited() else None
        _refuse_options(server, settings)
        if names is None:
            gunicorn_options.add_ops_address(server, settings.ops_bind)
            self._require_free(server.cfg.address)
        for sentence in (*misspelled_settings(), *gunicorn_options.without_effect()):
            server.log.warning("%s", sentence)
        parent = int(os.environ.get(GUNICORN_PID, "0"))
        takeover = Takeover(settings.runtime_dir, parent)
        scoreboard = runtime_dir.open_scoreboard(settings.runtime_dir, os.getpid(), parent=parent)
        scoreboard.update_service(pid=os.getpid(), workers=server.num_workers, generation=takeover.generation)
        formatters.identify(generation=takeover.generation)
        self._metrics = _make_metrics(self._store, takeover.generation)
        Supervisor.take_over(
            server,
            SupervisorContext(
                settings,
                scoreboard,
                takeover,
                self._systemd,
                Counts(self._metrics, self._store),
                listener_kinds=sockets.kinds(server.cfg.address, settings.ops_bind, names),
            ),
        )
        server.worker_class = functools.partial(server.worker_class, settings=settings)

    def when_ready(self, server: Supervisor) -> None:
        """Runs in the master, once it listens and before the first fork."""
        if len(server.LISTENERS) != len(server.listener_kinds):
            raise SystemExit(
                f"There are {len(server.LISTENERS)} sockets for {len(server.listener_kinds)} names:"
                " LISTEN_FDNAMES must name each socket that is handed in, and --reuse-port is not supported."
            )
        _tell_application_of_exposure(server)
        _announce(server, self._made)
        settings = self._settings
        if server.cfg.preload_app:  # else each worker compiles what it loads
            announce_compiled(compile_loaded(server.app.wsgi(), settings.compile, settings.compile_leave))
        _import_what_workers_need(server)
        # What is loaded by now lives as long as the master. Out of the collector's sight its pages stay
        # shared with the workers: a collection writes into the header of every object that it visits.
        gc.collect()
        gc.freeze()

    def pre_fork(self, server: Supervisor, worker: Worker) -> None:
        """Runs in the master."""
        # For an application that shares something out among the workers, as connections; a scale changes it.
        os.environ[WORKER_COUNT] = str(server.num_workers)
        worker.context = WorkerContext(
            server.scoreboard,
            server.pool.next_slot(),
            self._metrics,
            self._store,
            server.listener_kinds,
            # A generation on trial takes no request before a release that ends at once has ended.
            hold_seconds=restart_policy.MIN_UPTIME_SECONDS if server.scoreboard.is_on_trial else 0.0,
        )

    def post_fork(self, server: Supervisor, worker: Worker) -> None:
        """Runs in the new worker."""
        assert worker.context is not None, "a worker that pre_fork has not seen"
        slot = worker.context.slot
        slot.update(pid=os.getpid())
        formatters.identify(slot=slot.number)
        last_words.attend(server.pool.last_words, slot.number, is_first_start=server.pool.is_first_start)
        if self._store is not None:
            self._store.use_slot_files(slot.number, server.scoreboard.service.generation)

    def pre_exec(self, server: Supervisor) -> None:
        """Runs in the master's fork that becomes the next master."""
        reexec.prepare(
            ReexecContext(
                environment=server.cfg.env_orig,  # which Gunicorn starts the new master with a copy of
                python=server.START_CTX[0],
                arguments=server.START_CTX["args"][1:],
                cwd=server.START_CTX["cwd"],
                runtime_dir=self._settings.runtime_dir,
                listener_kinds=server.listener_kinds,
                activated_files=[each.fileno() for each in server.LISTENERS] if server.systemd else [],
                signals=server.SIGNALS,
                check_seconds=reexec.check_seconds(self._settings.boot_seconds),
            )
        )

    def on_exit(self, server: Arbiter) -> None:
        """Runs in the master, last."""
        runtime_dir.withdraw(self._settings.runtime_dir, os.getpid())

    def _require_free(self, addresses: list[Any]) -> None:
        """Ends the start with one sentence where an address of Gunicorn's is taken."""
        for address in addresses:
            if isinstance(address, (str, tuple)):
                is_ops = sockets.parse_address(self._settings.ops_bind) == address
                sockets.require_free("COACHMAN_OPS_BIND" if is_ops else "COACHMAN_BIND", address)


def __getattr__(name: str) -> Any:
    """The hooks by their names of version 0.1.0, whose gunicorn.conf.py takes them from this module."""
    if name in Hooks.NAMES:
        return getattr(_hooks_of_a_copy(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _hooks_of_a_copy() -> Hooks:
    settings = load_settings()
    counts_in = store.keep(settings.runtime_dir) if settings.metrics else None
    return Hooks(settings, counts_in, take_notifier(), preload.made_at_import(os.environ))


def _refuse_options(server: Any, settings: ServerSettings) -> None:
    """Ends the start with one sentence where an option of Gunicorn's is not allowed."""
    if not issubclass(server.worker_class, Worker):
        raise SystemExit(
            f"--worker-class {server.cfg.worker_class_str} is refused: gunicorn.conf.py is Coachman's, which"
            " supervises coachman.worker.Worker alone."
        )
    tls_of(server.cfg)
    if sentence := gunicorn_options.refusal(server.cfg, settings):
        raise SystemExit(sentence)


def _make_metrics(counts_in: Store | None, generation: int) -> Metrics | None:
    if counts_in is None:
        return None
    counts_in.use_master_files(generation)
    metrics = Metrics()
    metrics.begin_at_zero()
    return metrics


def _tell_application_of_exposure(server: Supervisor) -> None:
    """Runs in the master. An application may want keys where others than this machine reach it."""
    os.environ.pop(EXPOSED, None)
    for kind, listener in zip(server.listener_kinds, server.LISTENERS, strict=True):
        address = sockets.beyond_loopback(listener.sock)
        if kind != sockets.OPS and address:
            os.environ[EXPOSED] = address


def _import_what_workers_need(server: Supervisor) -> None:
    """Uvicorn and anyio import much at their first use, which would be after each fork.

    Here it is done once and shared: it halves the time from kill -9 to the next answer.
    """
    application = server.app.wsgi() if server.cfg.preload_app else _nothing
    config = uvicorn.Config(application, log_config=None, **uvicorn_options(server.settings))
    loop_factory(server.settings.loop)
    config.load()
    if any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ):
        for module in _TELEMETRY:
            with contextlib.suppress(ImportError):  # without the extra, which FastAPI complains of
                importlib.import_module(module)
    with contextlib.suppress(ImportError):  # an application without anyio, or an anyio without this module
        importlib.import_module("anyio._backends._asyncio")


async def _nothing(scope: object, receive: object, send: object) -> None:
    """A placeholder for the application, where each worker loads it itself."""


def _announce(server: Supervisor, made_before: Sequence[str]) -> None:
    settings, is_loaded = server.settings, server.cfg.preload_app
    addresses = list(zip(server.listener_kinds, map(str, server.LISTENERS), strict=True))
    start = Start(
        app_loader.loaded.name or settings.app or app_finder.default_place(settings.app_dir) or "",
        f"{server.num_workers} workers ({settings.worker_count()[1]})",
        os.getpid(),
        [address for kind, address in addresses if kind != sockets.OPS],
        app_facts.docs_path(server.app.wsgi()) if is_loaded else "",
        [address.replace("https:", "http:") for kind, address in addresses if kind == sockets.OPS],
    )
    made = app_loader.loaded.made_at_import if is_loaded else made_before
    announce(server.log.error_log, server.events, start, made, is_preloaded=is_loaded)
