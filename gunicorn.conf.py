"""Coachman's values for Gunicorn. What each does to clients: docs/settings.md. Yours go below the import."""

from coachman.gunicorn_config import *
