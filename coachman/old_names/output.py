"""The old name of coachman.system.stdio."""

import os

from coachman.system import stdio
from coachman.system.environment_names import HANDOVER_LOG


def never_block() -> None:
    """Makes writes to standard output and error return at once, as version 0.1.0 did."""
    stdio.make_nonblocking(os.environ.pop(HANDOVER_LOG, ""))
