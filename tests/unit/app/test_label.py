"""Labels: well-formed, readable, and printed off the event loop."""

import threading
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inventory import label

pytestmark = pytest.mark.sqlite

SVG = "{http://www.w3.org/2000/svg}"
skus = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)
names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200)


def texts(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@settings(deadline=None)
@given(sku=skus, name=names)
def test_every_label_is_well_formed_and_shows_the_whole_sku(sku: str, name: str) -> None:
    *sku_lines, _ = texts(label.render(sku, name))

    assert "".join(sku_lines) == sku


def test_markup_in_a_name_is_text() -> None:
    assert texts(label.render("A&B", "<script>&\"'")) == ["A&B", "<script>&\"'"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("12345", "12345"), ("123456", "1234…"), ("1234 6", "1234…"), ("紅茶茶", "紅茶…"), ("紅茶", "紅茶")],
)
def test_text_too_wide_ends_in_an_ellipsis(text: str, shown: str) -> None:
    assert label.cut(text, 5) == shown


def test_code_holds_the_sku() -> None:
    # Compared module by module with what segno itself draws.
    import segno

    matrix = [list(row) for row in segno.make("T-1", error="m", micro=False).matrix_iter(border=4)]
    path = ElementTree.fromstring(label.render("T-1", "Tea")).find(f"{SVG}path")
    assert path is not None
    drawn = [[0] * len(matrix) for _ in matrix]
    for run in path.attrib["d"].split("M")[1:]:
        start, length = run.split("h")[0], int(run.split("h")[1].split("v")[0])
        x, y = map(int, start.split())
        drawn[y][x : x + length] = [1] * length

    assert drawn == matrix


def test_endpoint_answers_an_image_drawn_in_a_thread(
    client: TestClient, create_item: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    item, threads = create_item("T-1", name="Tea"), []
    render = label.render

    def spy(sku: str, name: str) -> bytes:
        threads.append(threading.current_thread().name)
        return render(sku, name)

    monkeypatch.setattr(label, "render", spy)
    response = client.get(f"/items/{item['id']}/label.svg")

    assert response.headers["content-type"] == "image/svg+xml"
    assert texts(response.content) == ["T-1", "Tea"]
    assert "worker thread" in threads[0]
