"""A Gunicorn configuration: that of the folder where it is started, with the constants of fast_clock.py."""

import importlib
import runpy
from pathlib import Path

for module, constant, seconds in runpy.run_path(str(Path(__file__).with_name("fast_clock.py")))["CLOCK"]:
    setattr(importlib.import_module(module), constant, seconds)

exec(compile(Path("gunicorn.conf.py").read_text(), "gunicorn.conf.py", "exec"))
