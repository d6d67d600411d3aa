"""Releases on a machine that `coachman install` has set up. Runs in the operator's command, as root."""
