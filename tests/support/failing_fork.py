"""A Gunicorn configuration: fast_config.py's, but os.fork fails while the file that NO_FORK names exists."""

import errno
import os
from pathlib import Path

exec(compile(Path(__file__).with_name("fast_config.py").read_text(), "fast_config.py", "exec"))

fork_that_works = os.fork


def fork() -> int:
    if Path(os.environ["NO_FORK"]).exists():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork_that_works()


os.fork = fork
