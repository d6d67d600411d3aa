"""A label to print: the SKU as a QR code, and in words."""

import textwrap
import unicodedata
from html import escape
from itertools import accumulate, groupby

import segno

WIDTH, HEIGHT = 360, 144
TEXT_LEFT = 148
SKU_COLUMNS = 20
NAME_COLUMNS = 28

TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<title>{sku}</title>
<rect width="100%" height="100%" fill="#fff"/>
<path transform="scale({scale:.4f})" fill="#000" shape-rendering="crispEdges" d="{modules}"/>
{texts}
</svg>
"""


def render(sku: str, name: str) -> bytes:
    """Returns the label as an SVG document."""
    code = segno.make(sku, error="m", micro=False)
    lines = [_text(line, 24 + 20 * n, "monospace", 16) for n, line in enumerate(_wrap(sku))]
    name_line = _text(cut(name, NAME_COLUMNS), HEIGHT - 20, "sans-serif", 13)
    return TEMPLATE.format(
        width=WIDTH,
        height=HEIGHT,
        sku=_xml(sku),
        scale=HEIGHT / code.symbol_size()[0],
        modules=_modules(code),
        texts="\n".join([*lines, name_line]),
    ).encode()


def cut(text: str, columns: int) -> str:
    """Returns `text`, ended by an ellipsis when it is wider than `columns`."""
    widths = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text]
    if sum(widths) <= columns:
        return text
    fitting = sum(1 for width in accumulate(widths) if width < columns)
    return text[:fitting].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _wrap(sku: str) -> list[str]:
    return textwrap.wrap(sku, SKU_COLUMNS, break_on_hyphens=False)


def _modules(code: segno.QRCode) -> str:
    """Returns the dark modules as one path: a rectangle for each run in a row."""
    path = []
    for y, row in enumerate(code.matrix_iter(border=4)):
        x = 0
        for dark, run in groupby(row):
            length = len(list(run))
            if dark:
                path.append(f"M{x} {y}h{length}v1h-{length}z")
            x += length
    return "".join(path)


def _text(line: str, y: int, family: str, size: int) -> str:
    return f'<text x="{TEXT_LEFT}" y="{y}" font-family="{family}" font-size="{size}">{_xml(line)}</text>'


def _xml(text: str) -> str:
    # XML 1.0 has no place for these two, not even escaped.
    return escape(text).replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
