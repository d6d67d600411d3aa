"""Whom the load consists of. Importing this makes gevent replace the standard library's sockets."""

from loadtests.users.clerk import Clerk
from loadtests.users.label_printer import LabelPrinter
from loadtests.users.mixed import Mixed
from loadtests.users.reader import Reader
from loadtests.users.strict import StrictUser
from loadtests.users.waiter import AsyncWaiter, SyncWaiter, Trivial

__all__ = ["PROFILES", "Clerk", "LabelPrinter", "Mixed", "Reader", "StrictUser"]

PROFILES: dict[str, type[StrictUser]] = {
    "reader": Reader,
    "clerk": Clerk,
    "labels": LabelPrinter,
    "mixed": Mixed,
    "wait-sync": SyncWaiter,
    "wait-async": AsyncWaiter,
    "trivial": Trivial,
}
