"""Loads a catalogue into the inventory: from a CSV or NDJSON file, or from a Debian machine's packages."""
