"""The process that serves requests, a worker or `coachman serve`: one event loop, one application."""
