"""Puts our Database into their own tests: `pytest -p coachman_in_databases`, where the sources are."""

import databases

import durable_database

databases.Database = durable_database.Database  # type: ignore[misc]  # before its tests import it
