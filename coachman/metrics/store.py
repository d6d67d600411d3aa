"""The files of counts: prometheus_client's multi-process files, one set per slot instead of per process.

A worker goes on with the counts of the one before it in its slot, so that they survive kills, and a thousand
kills leave no more files than there are slots. Two generations may live at once, and their slots have the
same numbers: the name has the parity of the generation, and every other generation goes on with the same
files. The application's own metrics, made with prometheus_client, are kept alike, in a folder below: what it
publishes itself is then its own alone. A process that the application forks from a worker counts them too, in
the files of the lowest number that no other such process has: they are as many as have counted at once.
"""

import contextlib
import fcntl
import mmap
import os
import re
from pathlib import Path
from typing import Any

import prometheus_client.values
from prometheus_client import multiprocess
from prometheus_client.mmap_dict import MmapedDict

from coachman.state.runtime_dir import ops_folder, parity

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
FORK = "fork"
CHILD = "child-"  # how the names of a worker's children begin, as far as they count
MOST_CHILDREN = 1024  # that count at once; those of any more are not seen
OWN_METRICS = "coachman_"  # how their names begin
_OWN = "own."  # how the names of their files begin for prometheus_client, which knows one folder alone
FILE_BYTES = 64 * 1024  # of a new file; prometheus_client doubles it when it is full
_COUNTED = re.compile(r"[a-z]+(_[a-z]+)?_((\d+|master)-[01]|child-\d+)\.db")


def keep(runtime_dir: Path) -> "Store | None":
    """Puts prometheus_client's values into files from here on. None where there is no folder for them.

    Called once, at the front door, before the application makes its metrics: they choose their place then.
    """
    store = Store(ops_folder(runtime_dir))
    with contextlib.suppress(OSError):  # which the scoreboard complains of, in the same folder
        store.applications.mkdir(parents=True, exist_ok=True)
        os.environ[FOLDER_VARIABLE] = str(store.applications.absolute())
        values: Any = prometheus_client.values
        values.ValueClass = _value_maker(store)
        values.MmapedDict = _AllocatedDict
        return store
    return None


class Store:
    def __init__(self, folder: Path) -> None:
        self.folder, self.applications = folder, folder / "application"
        self._pid, self._name = os.getpid(), f"start.{os.getpid()}"
        self._is_worker = False
        self._child, self._child_name = 0, FORK

    def identity(self) -> str:
        """Asked by prometheus_client at each change of a value: a new answer has it open other files."""
        if os.getpid() == self._pid:
            return self._name
        return FORK  # that the application made: it must not write ours, nor leave files of its own behind

    def identity_of_application(self) -> str:
        """As identity(), for the application's own metrics, which a child of a worker counts too."""
        if os.getpid() == self._pid or not self._is_worker:
            return self.identity()
        if os.getpid() != self._child:
            self._child, self._child_name = os.getpid(), self._take_child_name()
        return self._child_name

    def _take_child_name(self) -> str:
        """Takes the first name that no other child has. The kernel gives it back when this process ends."""
        with contextlib.suppress(OSError):
            file = os.open(self.folder / "children.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            for number in range(MOST_CHILDREN):
                with contextlib.suppress(BlockingIOError):
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
                    return f"{CHILD}{number}"
            os.close(file)
        return FORK

    def use_master_files(self, generation: int) -> None:
        """Runs in the master. The first generation begins with no counts."""
        self.remove("*" if generation == 1 else f"*_{self._name}")
        # Not from the beginning on: `gunicorn --daemon` forks after it has read the configuration.
        self._pid, self._name = os.getpid(), f"master-{parity(generation)}"

    def use_slot_files(self, slot: int, generation: int) -> None:
        """Runs in the worker, right after the fork."""
        self._pid, self._name, self._is_worker = os.getpid(), slot_name(slot, generation), True

    def forget(self, slot: int, generation: int) -> None:
        """Runs in the master when a worker has ended: removes the gauges of that process."""
        name = slot_name(slot, generation)
        for folder in (self.folder, self.applications):
            with contextlib.suppress(OSError):  # costs a wrong gauge, but not the master
                multiprocess.mark_process_dead(name, str(folder))  # type: ignore[no-untyped-call]

    def forget_generation(self, generation: int) -> None:
        """Runs in the master when the previous generation has ended: one that was killed left its gauges."""
        self.remove(f"gauge_live*-{parity(generation)}*")

    def remove(self, pattern: str) -> None:
        for folder in (self.folder, self.applications):
            for path in folder.glob(f"{pattern}.db"):
                with contextlib.suppress(OSError):
                    path.unlink()

    def files(self) -> list[str]:
        """Those that count, without one that is being made and has no content yet."""
        return [*_counted_in(self.folder), *_counted_in(self.applications)]


def slot_name(slot: int, generation: int) -> str:
    return f"{slot}-{parity(generation)}"


def _value_maker(store: Store) -> Any:
    """What prometheus_client makes values with: Coachman's, and the application's in files of their own."""
    make: Any = prometheus_client.values.MultiProcessValue
    ours, theirs = make(lambda: f"{_OWN}{store.identity()}"), make(store.identity_of_application)

    def value(kind: str, metric: str, *arguments: Any, **options: Any) -> Any:
        return (ours if metric.startswith(OWN_METRICS) else theirs)(kind, metric, *arguments, **options)

    return value


def _place(filename: str) -> str:
    """Returns the path for a file that prometheus_client would put into the application's folder."""
    folder, name = os.path.split(filename)
    kind, own, rest = name.partition(f"_{_OWN}")
    return os.path.join(os.path.dirname(folder), f"{kind}_{rest}") if own else filename  # noqa: PTH118, PTH120


def _counted_in(folder: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        return [entry.path for entry in entries if _COUNTED.fullmatch(entry.name) and _has_content(entry)]
    return []  # the runtime directory was removed


def _has_content(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.stat().st_size > 0
    except FileNotFoundError:
        return False


class _AllocatedDict(MmapedDict):
    """Has its room on the disk before it writes there: a page without ends the process with SIGBUS.

    Where there is no room the counts go on in this process's memory, unseen.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        filename = _place(filename)
        if read_mode or (not _is_private(filename) and _allocate(filename)):
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
            return
        private = os.memfd_create("metrics")
        super().__init__(f"/proc/self/fd/{private}")  # type: ignore[no-untyped-call]
        os.close(private)

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + 64 > self._capacity:
            self._make_room()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _make_room(self) -> None:
        try:
            os.posix_fallocate(self._f.fileno(), 0, 2 * self._capacity)
        except OSError:
            private = os.fdopen(os.memfd_create("metrics"), "r+b")
            private.write(self._m[:])
            private.flush()
            self._f.close()
            self._f, self._m = private, mmap.mmap(private.fileno(), self._capacity)


def _is_private(filename: str) -> bool:
    """Whether nobody else shall see it: a child's end goes unseen, and so would that of its live gauges."""
    kind, _, identity = Path(filename).stem.rpartition("_")
    return identity == FORK or (identity.startswith(CHILD) and kind.startswith("gauge_live"))


def _allocate(filename: str) -> bool:
    try:
        with open(filename, "a+b") as file:
            size = os.fstat(file.fileno()).st_size
            os.posix_fallocate(file.fileno(), 0, max(size, FILE_BYTES))
    except OSError:
        return False
    return True
