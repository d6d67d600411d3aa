"""The form of log lines, and the request id in them."""
