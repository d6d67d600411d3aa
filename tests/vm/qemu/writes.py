"""What a power cut leaves of a disk, by the log of its writes that QEMU's blklogwrites keeps.

A disk may lose whatever it was not told to flush. Ending QEMU loses nothing: it all is in this machine's
memory. So the disk is made anew: as it was before, and every write up to a flush. The log's format is that of
dm-log-writes.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tests.vm.qemu.vm import copy_disk

MAGIC = 0x6A736677736872
FLUSH, DISCARD, MARK = 1, 4, 8


class Write(NamedTuple):
    flags: int
    offset: int
    length: int
    data: int  # where it is in the log


def flushes(log: Path) -> int:
    with log.open("rb") as file:
        return sum(bool(write.flags & FLUSH) for write in _writes(file))


def replay(log: Path, before: Path, after: Path, *, count: int | None = None) -> None:
    """Makes `after`: the disk once `count` flushes were done; by default all of them."""
    copy_disk(before, after)
    with log.open("rb") as file, after.open("r+b") as disk:
        writes = list(_writes(file))
        ends = [index + 1 for index, write in enumerate(writes) if write.flags & FLUSH][:count]
        for write in writes[: ends[-1] if ends else 0]:
            if write.length and not write.flags & (DISCARD | MARK):
                file.seek(write.data)
                disk.seek(write.offset)
                disk.write(file.read(write.length))


def _writes(file: BinaryIO) -> Iterator[Write]:
    size = os.fstat(file.fileno()).st_size
    magic, version, _, sector_size = struct.unpack("<QQQI", file.read(28))
    assert (magic, version) == (MAGIC, 1), f"not a log of writes: {magic:x}, version {version}"
    position = sector_size
    while position + sector_size <= size:
        file.seek(position)
        sector, sectors, flags, _ = struct.unpack("<QQQQ", file.read(32))
        if not (sectors or flags):
            return
        data, length = position + sector_size, sectors * sector_size
        position = data + (0 if flags & DISCARD else length)
        if position > size:
            return  # the last one was cut, too
        yield Write(flags, sector * sector_size, length, data)
