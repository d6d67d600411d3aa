"""The schema's history. Workers read `revision` only: Alembic would cost each of them 30 MiB."""


class MigrationError(Exception):
    """One sentence for the operator: what is wrong, and what to do."""
