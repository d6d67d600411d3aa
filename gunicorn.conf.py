"""Read once by the master, when it starts. What each value does to clients: docs/settings.md."""

from coachman import hooks
from coachman.capacity import default_workers
from coachman.settings import load_settings

settings = load_settings()

wsgi_app = f"coachman.application:load({settings.app!r})"
worker_class = "coachman.worker.Worker"
workers = settings.workers or default_workers()[0]

bind = [settings.bind, settings.ops_bind]
backlog = 2048
keepalive = 5

timeout = 30  # a worker whose event loop stands still for so long is killed
graceful_timeout = 25  # above DRAIN_SECONDS in coachman/server.py

preload_app = True  # a respawn forks what is loaded already: fast, and memory is shared

accesslog = None
loglevel = settings.log_level
control_socket_disable = True  # its default path is one for all Gunicorns of a user

on_starting = hooks.on_starting
when_ready = hooks.when_ready
nworkers_changed = hooks.nworkers_changed
pre_fork = hooks.pre_fork
post_fork = hooks.post_fork
child_exit = hooks.child_exit
