"""Writes the files with which an orchestrator runs an application. Pure: from facts to texts."""
