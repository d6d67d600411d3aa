from loadtests.users.clerk import Clerk
from loadtests.users.label_printer import LabelPrinter
from loadtests.users.reader import Reader


class Mixed(Reader, Clerk, LabelPrinter):
    """A whole shop in one user: of ten requests seven read, two book, one prints."""

    weight = 1
