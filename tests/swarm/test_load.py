"""The load tests against a service that an orchestrator scales, from a network outside its own."""

import csv
import time
from pathlib import Path

from loadtests.cells import Cells
from tests.swarm.cluster import Cluster

CONFIG = """
workers = [1, 2, 3]
profiles = ["reader"]
users = 8
repeats = 1
duration = 4
warmup = 4
latency-seconds = 1
other-cores = 99  # here the replicas are others: nobody knows their processes
seed = 1
"""


def test_throughput_is_compared_by_the_number_of_replicas(
    cluster: Cluster, results: list[str], tmp_path: Path
) -> None:
    """One replica on each node; with a quarter of a core each, so that two do more on two cores, too."""
    cluster.scale(1)
    cluster.update("--limit-cpu", "0.25", "--reserve-cpu", "0.1")
    begun = time.monotonic()
    (tmp_path / "swarm.toml").write_text(
        f'{CONFIG}url = "{cluster.url}"\nscale-command = "{cluster.scale_command}"\n'
    )
    out = tmp_path / "run"
    done = cluster.run(
        "-m", "loadtests", "compare", "--attach", "--config", str(tmp_path / "swarm.toml"), "--out", str(out)
    )
    assert "No answer: too few repeats for 1 replica" in done.stdout, done.stdout + done.stderr
    cells = [cell for cell in Cells(out).read() if cell.task.phase == "capacity"]
    rates = {cell.task.workers: cell.per_second for cell in cells}
    assert not any(cell.failures for cell in cells), cells
    assert rates[2] > 1.3 * rates[1], rates
    assert len(set(cluster.tasks().values())) == 3, "so many nodes as replicas"
    told = ", ".join(f"{n}: {rate:,.0f}/s" for n, rate in sorted(rates.items()))
    cluster.scale(1)
    cluster.update("--limit-cpu", "0", "--reserve-cpu", "0.5")
    cluster.scale(2)
    results.append(f"| compared by replicas of 0.25 cores, {told} | | | {time.monotonic() - begun:.0f} s |")


def test_locust_loads_the_stack_from_several_processes(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.run(
        "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--processes", "2",
        "--host", cluster.url, "-u", "8", "-r", "8", "-t", "8s", "--csv", str(tmp_path / "locust"), "Reader",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "locust_stats.csv").open() as file:
        total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    assert int(total["Request Count"]) > 50, total
    assert int(total["Failure Count"]) == 0, total
