"""What a comparison measures, in which order. Pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from loadtests.cells import Phase, Task
from loadtests.services import SHOP, WAITING

Unit = Literal["worker", "replica"]


class Profile(BaseModel):
    title: str
    users: int  # of the closed loop
    app: str = SHOP


PROFILES = {
    "reader": Profile(title="Reading from the database", users=32),
    "clerk": Profile(title="Booking movements (writes)", users=16),
    "labels": Profile(title="Printing labels (CPU in threads)", users=16),
    "mixed": Profile(title="A whole shop: 7 reads, 2 bookings, 1 label", users=24),
    "wait-sync": Profile(title="Waiting 100 ms in a thread", users=160, app=WAITING),
    "wait-async": Profile(title="Waiting 100 ms in a coroutine", users=64, app=WAITING),
    "trivial": Profile(title="Nothing at all", users=32, app=WAITING),
}
START_SECONDS = 2.0  # of a service and a generator, and their ends
# Windows long enough for a p99 are dear: two describe, three are the least that a p99 can be promised by.
LATENCY_REPEATS, LATENCY_REPEATS_OF_A_TARGET = 2, 3
LATENCY_REQUESTS = 1100
MOST_BLOCKS = 15  # with those that are added where a comparison is undecided


class Plan(BaseModel):
    """Everything that was chosen, kept beside the figures."""

    model_config = ConfigDict(frozen=True)

    profiles: list[str]
    workers: list[int]
    repeats: int
    duration: float
    warmup: float
    latency_seconds: float = 8  # the longest window at the fixed rate
    seed: int
    users: int | None = None
    rate: float | None = None
    within: float = 0.05
    p99_ms: float | None = None
    memory_mib: float | None = None
    crash_margin: bool = True
    other_cores: float = 0.3
    unit: Unit = "worker"  # what the numbers in `workers` count

    def tasks(self) -> Iterator[Task]:
        """Block by block; each block holds everything once, capacity before latency, else shuffled."""
        shuffler = random.Random(self.seed)  # noqa: S311
        for block in range(self.repeats):
            phases: list[Phase] = ["capacity"]
            if block < self.latency_repeats:
                phases.append("latency")
            for phase in phases:
                tasks = [
                    Task(block=block, phase=phase, profile=profile, workers=workers)
                    for profile in self.profiles
                    for workers in self.workers
                ]
                shuffler.shuffle(tasks)
                yield from tasks

    def more(self, block: int, undecided: Mapping[str, Sequence[int]]) -> list[Task]:
        """Returns one more block of throughput, of the numbers of workers that are not told apart."""
        tasks = [
            Task(block=block, phase="capacity", profile=profile, workers=workers)
            for profile, counts in undecided.items()
            for workers in counts
        ]
        random.Random(self.seed + block).shuffle(tasks)  # noqa: S311
        return tasks

    @property
    def latency_repeats(self) -> int:
        return min(self.repeats, LATENCY_REPEATS if self.p99_ms is None else LATENCY_REPEATS_OF_A_TARGET)

    @property
    def seconds(self) -> float:
        """About how long it takes, without repeats of disturbed measurements."""
        count = len(self.profiles) * len(self.workers)
        each = self.warmup + START_SECONDS
        longest = max(self.duration, self.latency_seconds)
        latency = self.latency_repeats * (each + longest)
        return count * (self.repeats * (each + self.duration) + latency)

    def window(self, rate: float | None) -> float:
        """Returns the length of a measurement in seconds: at a fixed rate long enough for a p99."""
        if rate is None:
            return self.duration
        return max(self.duration, min(self.latency_seconds, LATENCY_REQUESTS / rate))
