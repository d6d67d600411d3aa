"""What is observed of each request: metrics, access log, request id, route template."""
