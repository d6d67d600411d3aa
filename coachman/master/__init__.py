"""The master's process: it decides about workers, and never handles a request or runs an event loop."""
