"""The old name of what it imports."""

from coachman.system.app_loader import load as load
