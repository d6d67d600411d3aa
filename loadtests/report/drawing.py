"""Drawings as SVG inside the page. Colours are the page's own, so that they follow light and dark.

Values are shown by mouse, touch and keyboard without a script: over a drawing lie radio buttons, one for each
place of its x axis, and CSS shows the text of the one that is pointed at, or that has the focus.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Stand-ins, put in the page's variables afterwards: matplotlib knows no CSS.
INK, FAINT, ONE, TWO, THREE, FOUR = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
VARIABLES = {INK: "ink", FAINT: "faint", ONE: "c1", TWO: "c2", THREE: "c3", FOUR: "c4"}
SIZE = (4.4, 2.9)  # inches; the page shows them at most that wide, so that letters keep their size
DOTS_PER_INCH = 72  # those of an SVG, so that the layout is the same when places are asked for

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


class Mark(NamedTuple):
    """A stretch of the x axis, and what is shown for it: a heading and lines."""

    left: float
    right: float
    heading: str
    lines: Sequence[str]


class Drawing:
    """One figure with axes below each other, which share their x axis."""

    def __init__(self, name: str, size: tuple[float, float], heights: Sequence[float]) -> None:
        self._name = name
        self._figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
        self.axes: list[Axes] = list(
            self._figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        )

    def finish(self, title: str, told: str, marks: Sequence[Mark] = ()) -> str:
        """Returns the HTML of the figure, with a title, a description and the values of its places."""
        for axes in self.axes:
            if axes.get_legend_handles_labels()[0]:
                axes.legend(
                    loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, handlelength=1.5, columnspacing=1
                )
        svg = _svg(self._figure, f"{title}. {told}", self._name)
        return (
            f"<figure><figcaption>{escape(title)}</figcaption>"
            f'<div class="plot">{svg}{self._overlay(title, marks)}</div></figure>'
        )

    def _overlay(self, title: str, marks: Sequence[Mark]) -> str:
        if not marks:
            return ""
        inside = "".join(self._mark(mark) for mark in marks)
        return f'<div class="marks" role="radiogroup" aria-label="{escape(title)}, values">{inside}</div>'

    def _mark(self, mark: Mark) -> str:
        """In per cent of the figure, which the page shows at any size."""
        width, height = self._figure.get_size_inches() * DOTS_PER_INCH
        top = self.axes[0].get_window_extent().y1 / height
        bottom = self.axes[-1].get_window_extent().y0 / height
        ends = self.axes[0].transData.transform([(mark.left, 1), (mark.right, 1)])[:, 0] / width
        side = " late" if sum(ends) > 1 else ""
        place = (
            f"left:{100 * ends[0]:.2f}%;width:{100 * (ends[1] - ends[0]):.2f}%;"
            f"top:{100 * (1 - top):.2f}%;height:{100 * (top - bottom):.2f}%"
        )
        said = escape(f"{mark.heading}: {'; '.join(mark.lines)}")
        shown = "".join(f"<span>{escape(line)}</span>" for line in mark.lines)
        return (
            f'<label class="mark{side}" style="{place}">'
            f'<input type="radio" name="{self._name}" aria-label="{said}">'
            f'<span class="tip" aria-hidden="true"><b>{escape(mark.heading)}</b>{shown}</span></label>'
        )


@contextmanager
def drawing(
    name: str, size: tuple[float, float] = SIZE, heights: Sequence[float] = (1,)
) -> Iterator[Drawing]:
    """Gives a drawing in the style of the page; ids inside it begin with `name`."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
        yield Drawing(name, size, heights)


def logarithmic(axes: Axes) -> None:
    """Plain numbers on the y axis."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda ms, _: f"{ms:,g}"))
    axes.yaxis.set_minor_formatter(mpl.ticker.FuncFormatter(_two_or_five))
    axes.tick_params(axis="y", which="minor", labelsize=8)


def _two_or_five(ms: float, _: int) -> str:
    """Between the powers of ten a logarithmic axis has 20 and 50; more would run into each other."""
    return f"{ms:,g}" if f"{ms:e}"[0] in "25" else ""


def _svg(figure: Figure, told: str, name: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Ids are counted anew in each drawing ("axes_1"); in one page they would be double.
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", svg.replace("\n", " "), count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for stand_in, variable in VARIABLES.items():
        svg = svg.replace(stand_in, f"var(--{variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(told)}" ', 1)
