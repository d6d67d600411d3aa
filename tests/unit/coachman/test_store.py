"""Counts in files, and what of prometheus_client they rely on."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import prometheus_client.values
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from coachman.metrics.store import Store, _AllocatedDict

# In a process of its own: the place of all metrics can be chosen only once.
PROGRAM = """
import os, sys
from pathlib import Path
from coachman.metrics import store
kept = store.keep(Path(sys.argv[1]))
if "daemon" in sys.argv and os.fork():  # as gunicorn --daemon, once it has read its configuration
    os.wait()
    os._exit(0)
from prometheus_client import Counter, Gauge
hits = Counter("hits", "Hits.", ["of"])
once = Counter("once", "Without labels: there from the start.")
busy = Gauge("busy", "Busy.", multiprocess_mode="livesum")
kept.use_master_files(1)
for slot, generation in ((0, 1), (1, 1), (0, 2), (0, 3)):
    if (child := os.fork()) == 0:
        kept.use_slot_files(slot, generation)
        hits.labels("a").inc()
        once.inc()
        busy.set(1)
        if slot == 1:
            for _ in range(3):
                if (grandchild := os.fork()) == 0:
                    hits.labels("child").inc()
                    busy.set(1)
                    os._exit(0)
                os.waitpid(grandchild, 0)
        os._exit(0)
    os.waitpid(child, 0)
hits.labels("master").inc()
if "worker" in sys.argv:
    kept.forget(1, 1)
if "generation" in sys.argv:
    kept.forget_generation(1)
"""


def samples(folder: Path) -> dict[str, float]:
    found: list[Metric] = list(MultiProcessCollector.merge(Store(folder / "ops").files()))
    return {
        ",".join([sample.name, *sample.labels.values()]): sample.value
        for metric in found
        for sample in metric.samples
    }


def run(folder: Path, *arguments: str) -> set[str]:
    """The names of the files that are left."""
    subprocess.run([sys.executable, "-c", PROGRAM, folder, *arguments], check=True, timeout=120)
    return {path.name for path in (folder / "ops/application").iterdir()}


def test_a_slots_next_worker_and_the_next_generation_but_one_go_on_with_its_counts(tmp_path: Path) -> None:
    files = run(tmp_path)

    found = samples(tmp_path)
    assert (found["hits_total,a"], found["once_total"]) == (4, 4)
    counters = {name for name in files if name.startswith("counter")}
    # What the application's import has made in the master's name of that time is gone.
    assert {"counter_0-1.db", "counter_0-0.db", "counter_1-1.db"} <= counters
    assert not any("start" in name for name in files), files


def test_children_of_a_worker_count_one_after_the_other_in_the_same_file(tmp_path: Path) -> None:
    files = run(tmp_path)

    assert {name for name in files if name.startswith("counter")} == {
        *("counter_0-0.db", "counter_0-1.db", "counter_1-1.db", "counter_master-1.db", "counter_child-0.db")
    }
    found = samples(tmp_path)
    assert (found["hits_total,child"], found["hits_total,a"], found["busy"]) == (3, 4, 3)


def test_children_that_live_at_once_do_not_write_each_others_counts(tmp_path: Path) -> None:
    program = """if True:
        import os, sys
        from pathlib import Path
        from coachman.metrics import store
        kept = store.keep(Path(sys.argv[1]))
        from prometheus_client import Counter
        hits = Counter("hits", "Hits.")
        kept.use_master_files(1)
        if (worker := os.fork()) == 0:
            kept.use_slot_files(0, 1)
            hits.inc()
            for _ in range(2):  # what was taken is free again afterwards
                go, ready = os.pipe(), os.pipe()
                for _ in range(3):
                    if os.fork() == 0:
                        hits.inc()
                        os.write(ready[1], b"x")
                        os.read(go[0], 1)
                        hits.inc(10)
                        if os.fork() == 0:
                            hits.inc(100)
                            os._exit(0)
                        os.wait()
                        os._exit(0)
                for _ in range(3):
                    os.read(ready[0], 1)
                os.write(go[1], b"xxx")
                for _ in range(3):
                    os.wait()
            hits.inc()
            os._exit(0)
        os.waitpid(worker, 0)
    """
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, timeout=120)

    assert samples(tmp_path)["hits_total"] == 2 + 2 * 3 * 111
    names = {path.name for path in (tmp_path / "ops/application").iterdir()}
    assert names <= {"counter_0-1.db", *(f"counter_child-{number}.db" for number in range(6))}, names


def test_what_was_true_of_a_worker_that_has_ended_is_forgotten(tmp_path: Path) -> None:
    files = run(tmp_path, "worker")

    assert "gauge_livesum_0-1.db" in files
    assert "gauge_livesum_1-1.db" not in files
    assert samples(tmp_path)["busy"] == 2


def test_what_was_true_of_a_generation_that_has_ended_is_forgotten(tmp_path: Path) -> None:
    files = run(tmp_path, "generation")

    assert {name for name in files if name.startswith("gauge")} == {"gauge_livesum_0-0.db"}
    assert samples(tmp_path)["hits_total,a"] == 4


@pytest.mark.parametrize("arguments", [(), ("daemon",)])
def test_the_master_counts_too_also_where_it_has_become_a_daemon(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    run(tmp_path, *arguments)

    assert samples(tmp_path)["hits_total,master"] == 1


def test_a_first_generation_begins_at_zero(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path)

    assert samples(tmp_path)["hits_total,a"] == 4


def test_coachmans_metrics_are_not_among_those_that_an_application_publishes(tmp_path: Path) -> None:
    program = """if True:
        import os, sys
        from pathlib import Path
        from coachman.metrics import store
        kept = store.keep(Path(sys.argv[1]))
        from prometheus_client import CollectorRegistry, Counter, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector
        ours, theirs = Counter("coachman_things", "Ours.", ["of"]), Counter("things", "Theirs.", ["of"])
        kept.use_master_files(1)
        for slot in (0, 1):
            if (child := os.fork()) == 0:
                kept.use_slot_files(slot, 1)
                ours.labels("a").inc()
                theirs.labels("a").inc()
                os._exit(0)
            os.waitpid(child, 0)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        print(generate_latest(registry).decode())
    """
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], check=True, timeout=120, capture_output=True, text=True
    )

    assert 'things_total{of="a"} 2.0\n' in done.stdout
    assert "coachman" not in done.stdout
    assert samples(tmp_path) == {"things_total,a": 2, "coachman_things_total,a": 2}
    assert {path.name for path in (tmp_path / "ops").glob("*.db")} == {"counter_0-1.db", "counter_1-1.db"}


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_without_room_costs_the_counts_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "counter_0-1.db"
    full = _AllocatedDict(str(path))
    full.write_value("before", 1.0, 0.0)
    assert path.stat().st_blocks * 512 >= path.stat().st_size, "written without having the room"
    monkeypatch.setattr("os.posix_fallocate", refuse)
    for number in range(2000):  # more than the first 64 KiB take
        full.write_value(f"key {number} {'x' * 50}", number, 0.0)

    assert full.read_value(f"key 1999 {'x' * 50}")[0] == 1999
    assert full.read_value("before")[0] == 1
    stored = [key for key, *_ in MmapedDict.read_all_values_from_file(path)]
    assert 100 < len(stored) < 2000
    private = _AllocatedDict(str(tmp_path / "counter_1-1.db"))
    private.write_value("key", 1.0, 0.0)
    assert private.read_value("key")[0] == 1
    private.close()
    full.close()


def test_prometheus_client_asks_for_its_identity_at_each_change_of_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    name = "one"
    value = prometheus_client.values.MultiProcessValue(lambda: name)(
        "counter", "hits", "hits_total", (), (), "Hits."
    )
    value.inc(1)
    name = "two"
    value.inc(5)
    name = "one"
    value.inc(1)

    assert value.get() == 2
    assert {path.name for path in tmp_path.iterdir()} == {"counter_one.db", "counter_two.db"}
    # Which is replaced by one that has its room beforehand.
    assert "MmapedDict" in vars(prometheus_client.values)


def test_without_a_folder_there_are_no_counts_and_no_error(tmp_path: Path) -> None:
    assert samples(tmp_path / "removed") == {}


def test_a_file_that_cannot_be_removed_does_not_end_the_master(tmp_path: Path) -> None:
    (tmp_path / "gauge_livesum_0-1.db").mkdir()

    Store(tmp_path).forget(0, 1)
