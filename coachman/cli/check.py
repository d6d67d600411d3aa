"""`coachman check`: would a master start from here?"""

import os
import sys
from pathlib import Path

from coachman.settings import load_settings
from coachman.system.app_loader import load
from coachman.system.event_loop import uvicorn_loop


def check() -> None:
    """Read the settings and load the application, as a master would; say what is wrong in one sentence.

    Gunicorn reads WEB_CONCURRENCY while it is imported and answers a bad one with a traceback: only
    a look beforehand can do better.
    """
    sys.path.insert(0, str(Path.cwd()))  # where Gunicorn looks; a console script does not
    settings = load_settings()
    uvicorn_loop(settings.loop)
    load(settings.app)
    count, decided_by = settings.worker_count()
    workers = f"{count} workers, as told" if settings.workers else f"{count} workers ({decided_by})"
    print(f"{settings.app} loads; {workers}; public {settings.bind}, operations {settings.ops_bind}")
    if settings.workers and "WEB_CONCURRENCY" in os.environ and "COACHMAN_WORKERS" in os.environ:
        print("COACHMAN_WORKERS is set, so WEB_CONCURRENCY is not used.")
