"""Prometheus counters and the files that hold them."""
