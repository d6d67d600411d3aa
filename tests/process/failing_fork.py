"""A Gunicorn configuration: the repository's, but os.fork fails while the file that NO_FORK names exists."""

import errno
import os
from pathlib import Path

exec(
    compile(Path("gunicorn.conf.py").read_text(), "gunicorn.conf.py", "exec")
)  # the repository is the folder

fork_that_works = os.fork


def fork() -> int:
    if Path(os.environ["NO_FORK"]).exists():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork_that_works()


os.fork = fork
