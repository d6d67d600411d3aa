"""Load tests: how throughput changes with the number of workers, and what a killed worker costs."""
