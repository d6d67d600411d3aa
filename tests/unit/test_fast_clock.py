"""The tests' own constants are the service's, only shorter, and reach all who use them."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.fast_clock import CLOCK
from tests.support.service import FAST, REPOSITORY

# After the configuration and the worker, all of the service's modules are there.
PROGRAM = """
import importlib, inspect, json, runpy, sys
runpy.run_path(sys.argv[1])
importlib.import_module("coachman.worker")
for module, constant, _ in json.loads(sys.argv[2]):
    users = [user for name, user in sys.modules.items() if name.startswith("coachman.")
             and hasattr(user, constant) and f"from {module} import" in inspect.getsource(user)]
    print(json.dumps([getattr(user, constant) for user in [sys.modules[module], *users]]))
"""


def test_the_constants_are_shorter_everywhere_than_the_service_has_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, FAST, json.dumps(CLOCK)],
        cwd=REPOSITORY,
        env=os.environ | {"COACHMAN_RUNTIME_DIR": f"{tmp_path}/run"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]

    assert [set(values) for values in found] == [{seconds} for _, _, seconds in CLOCK], done.stderr
    for module, constant, seconds in CLOCK:
        assert 0 < seconds < getattr(importlib.import_module(module), constant)
