"""A gunicorn.conf.py as version 0.1.0 shipped it: copies lie in releases and in users' projects."""

import os
import signal
from pathlib import Path

from tests.support import web
from tests.support.service import Service, running, wait_until

# Of commit f2e7595, but for the comments.
SHIPPED = '''"""Read once by the master, when it starts. What each value does to clients: docs/settings.md."""

from coachman import hooks, output
from coachman.capacity import default_workers
from coachman.ops import store
from coachman.settings import load_settings

settings = load_settings()
output.never_block()
if settings.metrics:
    store.keep(settings.runtime_dir)

wsgi_app = f"coachman.application:load({settings.app!r})"
worker_class = "coachman.worker.Worker"
workers = settings.workers or default_workers()[0]

bind = [settings.bind, settings.ops_bind]
backlog = 2048
keepalive = settings.keepalive_seconds

timeout = settings.hang_seconds
graceful_timeout = settings.kill_seconds

preload_app = True

logger_class = "coachman.logger.Logger"
accesslog = None
loglevel = settings.log_level
control_socket_disable = True

on_starting = hooks.on_starting
when_ready = hooks.when_ready
pre_fork = hooks.pre_fork
post_fork = hooks.post_fork
pre_exec = hooks.pre_exec
on_exit = hooks.on_exit
'''


def test_the_gunicorn_conf_of_version_0_1_0_serves_counts_and_replaces(tmp_path: Path) -> None:
    service = Service(tmp_path, COACHMAN_WORKERS="2")
    service.config = tmp_path / "gunicorn.conf.py"
    service.config.write_text(SHIPPED)
    service.migrate()
    with running(service):
        assert web.get(f"{service.url}/items").status_code == 200, service.log()
        metrics = f"{service.ops_url}/metrics"
        assert wait_until(lambda: "/items" in web.get(metrics).text), service.log()

        victim = min(service.worker_pids())
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: victim not in service.worker_pids() and len(service.worker_pids()) == 2)
        service.process.send_signal(signal.SIGTERM)
        assert service.wait_end() == 0, service.log()
    assert "Traceback" not in service.log()
    assert "DeprecationWarning" not in service.log()
