"""The bare address, which is the first that a person opens."""

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings

pytestmark = pytest.mark.sqlite
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("root_path", ["", "/shop"])
def test_a_browser_is_led_to_the_docs(settings: Settings, root_path: str) -> None:
    with TestClient(create_app(settings), root_path=root_path) as client:
        answer = client.get(f"{root_path}/", headers={"accept": BROWSER}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, f"{root_path}/docs")
        assert answer.headers["vary"] == "accept"
        page = client.get(answer.headers["location"])
    assert "swagger" in page.text


def test_a_program_gets_an_index_whose_addresses_are_there(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        index = client.get("/").json()
        for name in ("items", "docs", "openapi"):
            assert client.get(index[name]).status_code == 200, name
    assert index["title"] == "Coachman stock-keeping"


def test_without_docs_a_browser_gets_the_index_too(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"docs": False}))) as client:
        index = client.get("/", headers={"accept": BROWSER}).json()
    assert set(index) == {"title", "version", "items"}
