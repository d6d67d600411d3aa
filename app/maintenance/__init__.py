"""Backups, and the move to PostgreSQL. For the operator; workers import none of it."""


class MaintenanceError(Exception):
    """One sentence for the operator: what is wrong, and what to do."""
