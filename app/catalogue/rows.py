"""What the readers hand to the loader: rows as the file has them, and rows that could not be read."""

from dataclasses import dataclass, field

FIELDS = ("sku", "name", "description", "unit_price", "quantity")
REQUIRED_FIELDS = ("sku", "name")


@dataclass(frozen=True, slots=True)
class Row:
    """One row, not validated yet; a field that the file leaves out is no key of `values`."""

    line: int
    values: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not loaded, and why."""

    line: int
    reason: str


class CatalogueError(Exception):
    """The whole catalogue is refused, in one sentence; `line` is known when one line is to blame."""

    def __init__(self, sentence: str, line: int | None = None) -> None:
        super().__init__(sentence)
        self.line = line


def quoted(text: str, longest: int = 40) -> str:
    """The text in quotes, cut, with everything escaped that a terminal could obey."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    visible = (c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in cut)
    return f'"{"".join(visible)}"'
