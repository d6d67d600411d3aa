"""The old name of what it imports."""

from coachman.system.stdio import never_block as never_block
