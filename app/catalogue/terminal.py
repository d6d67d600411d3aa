"""What the person at the terminal sees of a load: refusals, a bar, the summary, the exit code."""

import contextlib
from collections.abc import Callable, Iterator

import rich.progress as bars
from rich.console import Console
from rich.text import Text

from app.catalogue.loader import LoadError, Tally, load
from app.catalogue.rows import CatalogueError, Refusal
from app.catalogue.source import Source

INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended


def load_and_tell(source: Source, database_url: str) -> int:
    """Loads and reports, and returns the exit code: 0 when every row is loaded, else 1."""
    console = Console(stderr=True)
    tally = Tally()

    def refuse(refusal: Refusal) -> None:
        _say(console, f"{source.name}:{refusal.line}: {refusal.reason}")

    try:
        with _bar(console, source, tally) as advance:
            load(database_url, source.rows, tally, refuse, advance)
        code = 1 if tally.counts["refused"] else 0
    except KeyboardInterrupt:
        _say(console, f"interrupted; {_reached(source.name, tally)}; the same command again loads the rest")
        code = INTERRUPTED
    except (CatalogueError, LoadError, OSError) as error:
        reached = f"; {_reached(source.name, tally)}" if tally.line else ""
        _say(console, f"{_failure(source.name, error)}{reached}")
        code = 1
    print(tally)
    return code


def _say(console: Console, sentence: str) -> None:
    # Text: a bracket in a reason is no markup. Soft wrap: FILE:LINE stays one line for grep and editors.
    console.print(Text(sentence), soft_wrap=True)


def _failure(name: str, error: CatalogueError | LoadError | OSError) -> str:
    if isinstance(error, LoadError):
        return str(error)
    if isinstance(error, OSError):
        return f"{name} cannot be read: {error.strerror or error}"
    return f"{name}: {error}" if error.line is None else f"{name}:{error.line}: {error}"


def _reached(name: str, tally: Tally) -> str:
    return f"{name} is loaded up to line {tally.line:,}" if tally.line else f"nothing of {name} is loaded"


@contextlib.contextmanager
def _bar(console: Console, source: Source, tally: Tally) -> Iterator[Callable[[], None]]:
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.DownloadColumn() if source.consumed_bytes else bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(source.name, total=source.total)
        done = source.consumed_bytes or tally.counts.total
        yield lambda: progress.update(task, completed=done())
