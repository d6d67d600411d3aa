"""The old name of what it imports."""

from coachman.metrics.store import keep as keep
