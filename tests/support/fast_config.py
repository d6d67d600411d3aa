"""A Gunicorn configuration: that of the folder where it is started, with the constants of fast_clock.py."""

import importlib
import os
import runpy
from pathlib import Path

clock = runpy.run_path(str(Path(__file__).with_name("fast_clock.py")))
for module, constant, _ in clock["CLOCK"]:
    setattr(importlib.import_module(module), constant, clock["value_of"](constant, os.environ))

exec(compile(Path("gunicorn.conf.py").read_text(), "gunicorn.conf.py", "exec"))
