"""The schema's history. Workers read `revision` only: Alembic would cost each of them 30 MiB."""
