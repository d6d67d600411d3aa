"""The values of gunicorn.conf.py, read once by the master when it starts. See docs/settings.md."""

import os

from coachman.hooks import Hooks
from coachman.logs.gunicorn_logger import logger_class as logger_class_for
from coachman.master import preload
from coachman.metrics import store
from coachman.settings import load_settings
from coachman.system import stdio
from coachman.system.environment_names import HANDOVER_LOG
from coachman.system.sd_notify import take_notifier
from coachman.system.sockets import UNIX_SOCKET_UMASK

settings = load_settings()
stdio.make_nonblocking(copy_to=os.environ.pop(HANDOVER_LOG, ""))
made_at_import = preload.made_at_import(os.environ)
counts_in = store.keep(settings.runtime_dir) if settings.metrics else None
hooks = Hooks(settings, counts_in, take_notifier(), made_at_import)

wsgi_app = (
    "coachman.system.app_loader:load"
    f"({settings.app!r}, {str(settings.app_dir)!r}, factory={settings.factory!r})"
)
worker_class = "coachman.worker.Worker"
workers = settings.worker_count()[0]

bind = [settings.bind, settings.ops_bind]
certfile, keyfile = settings.certfile, settings.keyfile
backlog = 2048
umask = UNIX_SOCKET_UMASK  # else everybody on the machine may speak to a unix socket, past the proxy
keepalive = settings.keepalive_seconds

timeout = settings.hang_seconds  # the order of all timeouts: docs/timeouts.md
graceful_timeout = settings.kill_seconds

# With it a respawn forks what is loaded already: fast, and memory is shared. See coachman/master/preload.py.
preload_app = not made_at_import if settings.preload is None else settings.preload

logger_class = logger_class_for(settings.log_format)
accesslog = None  # Gunicorn's own, which its ASGI workers do not write: see COACHMAN_ACCESS_LOG
loglevel = settings.log_level
control_socket_disable = True  # its default path is one for all Gunicorns of a user

on_starting = hooks.on_starting
when_ready = hooks.when_ready
pre_fork = hooks.pre_fork
post_fork = hooks.post_fork
pre_exec = hooks.pre_exec
on_exit = hooks.on_exit
