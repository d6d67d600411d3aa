"""What the server that runs the application tells it, through the environment of its processes."""

import os

EXPOSED = "COACHMAN_EXPOSED"  # an address, such as 0.0.0.0:8000, that other machines can reach
WORKERS = "COACHMAN_WORKER_COUNT"  # how many processes serve the application


def limits_bodies() -> bool:
    """Whether Coachman is in front, which refuses large bodies before the application sees them."""
    return WORKERS in os.environ


def worker_count() -> int:
    """How many processes serve; one where the server does not say."""
    return int(os.environ.get(WORKERS, "1"))
