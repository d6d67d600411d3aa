"""Backups, and the move to PostgreSQL. For the operator; workers import none of it."""
