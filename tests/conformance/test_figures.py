"""The figures of docs/security.md are those of the table."""

import re
from pathlib import Path

from tests.conformance.cases import CASES, GROUPS

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


def test_the_docs_have_the_figures_of_each_group() -> None:
    """That all are answered as the RFCs say is what test_conformance.py proves, which leaves out none."""
    told = re.findall(r"^\| ([a-z ]+) \| (\d+) of (\d+) \| \d+ of (\d+) \|", TEXT, re.MULTILINE)

    expected = [(name, *(3 * [str(len(cases))])) for name, cases in GROUPS.items()]
    assert [row for row in told if row[0] in GROUPS] == expected
    assert f"a table of {len(CASES)} requests" in TEXT
