"""`coachman run`: a Gunicorn master in the foreground, through Gunicorn's documented BaseApplication."""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication

from coachman.system import app_finder, app_loader, gunicorn_file
from coachman.system.gunicorn_file import GunicornFile
from coachman.system.process import without_folder


class Master(BaseApplication):
    """Gunicorn's master with Coachman's values and, where the project has one, its gunicorn.conf.py.

    The environment has been completed by what flags and files say. The next master of a handover starts
    with `environment`, the original one, and reads flags and files anew: those of the next release.
    """

    def __init__(self, environment: Mapping[str, str], from_project: GunicornFile) -> None:
        self._environment, self._from_project = environment, from_project
        super().__init__(prog="coachman run")

    def load_config(self) -> None:
        """Called by the constructor."""
        # Read when it is imported, as Gunicorn does with a file of this kind: not before the environment
        # is complete.
        try:
            from coachman import gunicorn_config
        except (ImportError, AttributeError) as error:
            raise SystemExit(app_finder.hiding_others(error, Path.cwd()) or str(error)) from error

        self.cfg.env_orig = dict(self._environment)
        ours = self._values_of(vars(gunicorn_config))
        for name, value in ours.items():
            self.cfg.set(name, value)
        if self._from_project.is_ours:
            found = self._values_of(gunicorn_file.run(Path(gunicorn_file.NAME)))
            theirs = {name: value for name, value in found.items() if value != ours.get(name)}
        else:
            theirs = self._values_of(self._from_project.values)
        for name, value in theirs.items():
            self._set(name, self._with_ops(value, gunicorn_config) if name == "bind" else value)
        for name, hook in self._from_project.hooks.items():
            self.cfg.set(name, _one_after_the_other(ours[name], hook))

    def _set(self, name: str, value: Any) -> None:
        try:
            self.cfg.set(name, value)
        except (TypeError, ValueError) as error:
            raise SystemExit(f"{gunicorn_file.NAME}: {name}={value!r} is refused: {error}.") from None

    def load(self) -> Any:
        """The application. Called in the master, or in each worker where preload is off."""
        from coachman.gunicorn_config import settings

        return app_loader.load(settings.app, str(settings.app_dir), factory=settings.factory)

    def _values_of(self, names: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in names.items() if name in self.cfg.settings}

    def _with_ops(self, addresses: Any, config: ModuleType) -> list[str]:
        public = addresses if isinstance(addresses, (list, tuple)) else str(addresses).split(",")
        return [*public, config.settings.ops_bind]


def run_master(environment: Mapping[str, str], from_project: GunicornFile) -> NoReturn:
    """Runs the master until it is asked to stop. Ends the process."""
    # What Gunicorn starts the next master with. With -m it is that of the release which is there by then,
    # and the folder of this package does not come onto the path of its imports.
    sys.argv = [*without_folder(), "-m", "coachman", *sys.argv[1:]]
    if (folder := os.getcwd()) not in sys.path:  # noqa: PTH109 - `current` of a release is not to be resolved
        sys.path.insert(0, folder)
    Master(environment, from_project).run()
    sys.exit(0)


def _one_after_the_other(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of the same number of parameters, which Gunicorn counts."""
    if len(inspect.signature(ours).parameters) == 1:
        return lambda server: (ours(server), theirs(server))
    return lambda server, worker: (ours(server, worker), theirs(server, worker))
