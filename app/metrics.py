"""What the data layer does, for whoever collects Prometheus metrics in this process."""

import os
from collections.abc import Callable
from pathlib import Path

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


def observer(sqlite_file: Path | None) -> Callable[[str, float], None]:
    """What a Database is given as `observe`. None for a database that has no file here."""
    histograms = {"pool_wait_seconds": pool_wait, "gate_wait_seconds": gate_wait, "batch_size": batch_size}
    wal = f"{sqlite_file}-wal"

    def observe(name: str, value: float) -> None:
        histograms[name].observe(value)
        if name == "batch_size" and sqlite_file is not None:
            try:
                wal_bytes.set(os.stat(wal).st_size)  # noqa: PTH116 - after each commit: no Path is made for it
            except OSError:
                wal_bytes.set(0)

    return observe
