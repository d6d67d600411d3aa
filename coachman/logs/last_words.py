"""What a worker leaves for its master: the last error that it has logged, and how many requests it has cut.

It is in memory that both share, since a worker that ends has no time left to tell anybody.
"""

import logging
import mmap
import struct

from coachman.logs.terminal import is_terminal

BYTES = 256  # of one slot: the requests, the length, and the sentence in UTF-8, cut where it is longer
_REQUESTS, _LENGTH = struct.Struct("=I"), struct.Struct("=H")
_TEXT = _REQUESTS.size + _LENGTH.size


class LastWords:
    """One place for each slot. Made by the master before it forks; a worker writes its own."""

    def __init__(self, slots: int) -> None:
        self._memory = mmap.mmap(-1, slots * BYTES)

    def of(self, slot: int) -> str:
        """The sentence; empty where the worker has said nothing."""
        start = slot * BYTES
        (length,) = _LENGTH.unpack_from(self._memory, start + _REQUESTS.size)
        return self._memory[start + _TEXT : start + _TEXT + length].decode(errors="ignore")

    def write(self, slot: int, sentence: str) -> None:
        """The length last: who is killed in the middle has said nothing."""
        said, start = sentence.encode(errors="replace")[: BYTES - _TEXT], slot * BYTES
        _LENGTH.pack_into(self._memory, start + _REQUESTS.size, 0)
        self._memory[start + _TEXT : start + _TEXT + len(said)] = said
        _LENGTH.pack_into(self._memory, start + _REQUESTS.size, len(said))

    def requests_cut(self, slot: int) -> int:
        """How many requests were still open at the end of the drain, and were not answered."""
        return int(_REQUESTS.unpack_from(self._memory, slot * BYTES)[0])

    def write_requests_cut(self, slot: int, requests: int) -> None:
        _REQUESTS.pack_into(self._memory, slot * BYTES, requests)

    def clear(self, slot: int) -> None:
        self._memory[slot * BYTES : slot * BYTES + _TEXT] = bytes(_TEXT)


class Witness(logging.Filter):
    """Writes down the errors of one worker. Runs in it."""

    def __init__(self, words: LastWords, slot: int, *, is_first_start: bool) -> None:
        """`is_first_start`: the master ends the service with this sentence, which a terminal shows once."""
        super().__init__()
        self.words, self.slot = words, slot
        self._is_told_by_master = is_first_start and is_terminal()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            self.words.write(self.slot, record.getMessage())
            record.is_detail = self._is_told_by_master
        return True

    def take(self, end: SystemExit) -> SystemExit:
        """A refusal that would be printed when the process ends. Returns how it is to end."""
        if not isinstance(end.code, str):
            return end
        self.words.write(self.slot, end.code)
        return SystemExit(1) if self._is_told_by_master else end


_witness: Witness | None = None  # of this worker


def attend(words: LastWords, slot: int, *, is_first_start: bool) -> None:
    """Runs in a new worker: from here on its errors are written down."""
    global _witness
    _witness = Witness(words, slot, is_first_start=is_first_start)
    logging.getLogger("coachman.serving").addFilter(_witness)


def note_requests_cut(requests: int) -> None:
    """Runs in a worker at the end of its drain; in a process without a master it does nothing."""
    if _witness is not None:
        _witness.words.write_requests_cut(_witness.slot, requests)


def take(end: SystemExit) -> SystemExit:
    """As Witness.take, in any process."""
    return _witness.take(end) if _witness is not None else end
