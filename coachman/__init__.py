"""Runs a FastAPI application under a Gunicorn master and N Uvicorn workers."""

import sys

from coachman.old_names import Finder

sys.meta_path.append(Finder)
