"""Modules under the names that the gunicorn.conf.py of version 0.1.0 imports.

A copy of it lies in older releases and in users' projects, so the names are kept for one version. A copy made
from now on imports coachman.gunicorn_config alone.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULES = {
    "coachman.application": "coachman.old_names.application",
    "coachman.capacity": "coachman.old_names.capacity",
    "coachman.logger": "coachman.old_names.logger",
    "coachman.ops.store": "coachman.old_names.store",
    "coachman.output": "coachman.old_names.output",
}


class Finder:
    """Finds a module by its old name, after Python has found nothing of that name."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, _Loader()) if name in MODULES else None


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(MODULES[module.__name__])
