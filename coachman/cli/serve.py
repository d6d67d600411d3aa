"""`coachman serve`: the application in one process, without a master."""

import sys
from pathlib import Path


def serve() -> None:
    """Serve with plain Uvicorn, in this process: for containers, whose engine supervises and scales."""
    sys.path.insert(0, str(Path.cwd()))  # where Gunicorn looks; a console script does not
    from coachman.standalone import run  # which reads settings that the other commands do without

    run()
