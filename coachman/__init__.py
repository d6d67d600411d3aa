"""Runs a FastAPI application under a Gunicorn master and N Uvicorn workers."""

import sys

from coachman.old_names import Finder

__version__ = "0.1.0"

sys.meta_path.append(Finder)
