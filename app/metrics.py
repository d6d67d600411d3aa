"""Prometheus metrics of the data layer."""

from collections.abc import Callable

from prometheus_client import Gauge, Histogram

SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)

pool_wait = Histogram(
    "app_database_pool_wait_seconds", "How long a statement waited for a connection.", buckets=SECONDS
)
gate_wait = Histogram(
    "app_database_gate_wait_seconds", "How long a commit waited for other processes.", buckets=SECONDS
)
batch_size = Histogram(
    "app_database_batch_size", "Writes that one commit carried.", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
wal_bytes = Gauge(
    "app_database_wal_bytes", "Size of SQLite's write-ahead log.", multiprocess_mode="mostrecent"
)

TAKEN_BY: dict[str, Callable[[float], None]] = {
    "pool_wait_seconds": pool_wait.observe,
    "gate_wait_seconds": gate_wait.observe,
    "batch_size": batch_size.observe,
    "wal_bytes": wal_bytes.set,
}


def observe(name: str, value: float) -> None:
    """Records one figure of the data layer; a Database is given this as `observe`."""
    TAKEN_BY[name](value)
