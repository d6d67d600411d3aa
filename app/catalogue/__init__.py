"""Loads a catalogue into the inventory: from a CSV or NDJSON file, or from the packages of a Debian machine."""
