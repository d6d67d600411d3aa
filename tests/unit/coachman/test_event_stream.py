"""The status page's stream of events: one reader's end, or one failure, is no other reader's."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from coachman.ops import event_stream
from coachman.ops.event_stream import MOST_READERS, Feed


class Snapshots:
    """Fails at the calls with these numbers, counted from 0."""

    def __init__(self, *failing: int) -> None:
        self._failing, self._calls = failing, -1

    def take(self, since: float) -> dict[str, Any]:
        self._calls += 1
        if self._calls in self._failing:
            raise OSError("the file has gone")
        return {"time": 1.0, "history": [{"time": 1.0}]}


class Reader:
    """One whose connection breaks at its message with this number."""

    def __init__(self, breaks_at: int = 1000) -> None:
        self.messages: list[Any] = []
        self._breaks_at = breaks_at

    async def receive(self) -> Any:
        await asyncio.sleep(60)

    async def send(self, message: Any) -> None:
        if len(self.messages) >= self._breaks_at:
            raise RuntimeError("write after the end")
        self.messages.append(message)


async def fed(feed: Feed, readers: list[Reader], messages: int) -> list[BaseException | None]:
    """How the streams end once all readers that are whole have that many messages."""
    streams = [asyncio.ensure_future(feed.serve(reader.receive, reader.send)) for reader in readers]
    async with asyncio.timeout(60):
        while any(len(reader.messages) < messages for reader in readers if reader._breaks_at == 1000):
            await asyncio.sleep(0.001)
    feed.end()
    return await asyncio.gather(*streams, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "SECONDS", 0.001)


def test_a_reader_whose_connection_breaks_leaves_the_others_theirs() -> None:
    readers = [Reader(breaks_at=0), Reader(), Reader(breaks_at=2), Reader()]
    with ThreadPoolExecutor(2) as threads:
        ends = asyncio.run(fed(Feed(Snapshots(), threads), readers, messages=10))

    assert [type(end) for end in ends] == [RuntimeError, type(None), RuntimeError, type(None)]


def test_readers_that_broke_make_room_for_others() -> None:
    async def run(feed: Feed) -> Reader:
        for _ in range(2 * MOST_READERS):
            broken = Reader(breaks_at=1)
            with pytest.raises(RuntimeError):
                await feed.serve(broken.receive, broken.send)
        reader = Reader()
        await fed(feed, [reader], messages=3)
        return reader

    with ThreadPoolExecutor(2) as threads:
        assert asyncio.run(run(Feed(Snapshots(), threads))).messages[0]["status"] == 200


def test_a_snapshot_that_fails_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    readers = [Reader(), Reader()]
    with ThreadPoolExecutor(1) as threads:
        ends = asyncio.run(fed(Feed(Snapshots(0, 1, 2, 3), threads), readers, messages=10))

    assert ends == [None, None]
    assert len(caplog.records) == 1
    assert b"retry: 300\ndata: " in readers[0].messages[1]["body"]


@pytest.mark.parametrize(
    ("since", "seconds", "now", "sent"),
    [
        (0.0, [], 100.2, 0.0),
        (0.0, [98, 99], 100.2, 99),
        (99.0, [], 100.2, 99.0),
        (99.0, [100], 100.2, 100),
        (101.0, [], 100.2, 101.0),  # the second that a master has begun a moment before
        (3700.0, [], 100.2, 0.0),
    ],
)
def test_a_page_that_is_open_is_sent_all_seconds_anew_when_the_clock_was_set_back(
    since: float, seconds: list[int], now: float, sent: float
) -> None:
    snapshot = {"time": now, "history": [{"time": second} for second in seconds]}

    assert event_stream.sent_until(since, snapshot) == sent
