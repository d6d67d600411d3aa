"""The old name of what it imports."""

from coachman.system.cpus import default_workers as default_workers
