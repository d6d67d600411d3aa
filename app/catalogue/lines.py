"""The lines of a catalogue file, numbered, each of bounded size."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_LINE_BYTES = 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """Bytes that are not UTF-8 are kept as lone surrogates, so that the cells beside them still parse."""

    number: int
    text: str
    too_long: bool = False


class Lines(Iterator[Line]):
    """Ends at the end of the file; `consumed_bytes` tells a progress bar how far it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0
        self.consumed_bytes = 0

    def __next__(self) -> Line:
        raw = self._read()
        if not raw:
            raise StopIteration
        self._number += 1
        if self._number == 1:
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        if len(raw) > MAX_LINE_BYTES:
            self._skip_rest_of_line(raw)
            return Line(self._number, "", too_long=True)
        return Line(self._number, raw.decode("utf-8", "surrogateescape"))

    def _read(self) -> bytes:
        chunk = self._file.readline(MAX_LINE_BYTES + 1)
        self.consumed_bytes += len(chunk)
        return chunk

    def _skip_rest_of_line(self, chunk: bytes) -> None:
        while chunk and not chunk.endswith(b"\n"):
            chunk = self._read()


def is_utf8(text: str) -> bool:
    """Whether the text was UTF-8 in the file it was read from."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
